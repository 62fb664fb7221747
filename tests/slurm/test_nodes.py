"""A script rendered for one number of nodes and submitted with another: everything in it follows the job."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster_infos import with_environment
from tests.programs import ROOT
from tests.slurm.cluster import SlurmCluster
from tests.unit.batch_sample import CPU_TYPE, run_on
from workloads.launchers import Command, Jax, Launcher, Srun, Torchrun
from workloads.program import Program
from workloads.render.slurm import slurm as render
from workloads.resources import Resources

RANKS = 2


@pytest.fixture(scope="module")
def cluster(artifacts: Callable[[str], Path]) -> Iterator[SlurmCluster]:
    with SlurmCluster(artifacts("slurm-nodes"), {"cpu": ["n1", "n2", "n3"]}) as running:
        yield running


def told(cluster: SlurmCluster, folder: Path, launcher: Launcher, program: str, nodes: int) -> list[str]:
    """Submit a run of two nodes on so many, with `program` in place of what starts ranks, and return its output."""
    programs = folder / "environment" / "bin"
    programs.mkdir(parents=True)
    (programs / "tell").write_text(f'#!/bin/bash\necho "told: {program}"\n', encoding="utf-8")
    (programs / "tell").chmod(0o755)
    (programs / "torchrun").symlink_to("tell")
    # The launch guard is the real one.
    (folder / "launch" / "base").mkdir(parents=True)
    (folder / "launch" / "base" / "runtime").symlink_to(ROOT / "workloads" / "runtime")
    info = with_environment(
        "parallelcluster",
        folder / "shared",
        partitions={},
        environment=str(folder / "environment"),
        launch_folder=str(folder / "launch"),
    )
    resources = Resources(accelerators=("cpu",), ranks_per_node=RANKS)
    run = run_on(CPU_TYPE, 2, launcher=launcher, program=Program(command=("tell",)), resources=resources)
    run = replace(run, pool=replace(run.pool, name="cpu"))
    (folder / "job.sbatch").write_text(render(run, info), encoding="utf-8")
    job = cluster.run("sbatch", "--wait", "--parsable", f"--nodes={nodes}", "job.sbatch", directory=folder)
    [log] = folder.glob(f"*_{job.strip()}.out")
    return sorted(re.findall(r"told: (.*)", log.read_text(encoding="utf-8")))


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_ranks_that_srun_starts_have_their_number(cluster: SlurmCluster, tmp_path: Path, nodes: int) -> None:
    found = told(cluster, tmp_path, Srun(), "$RANK $LOCAL_RANK $WORLD_SIZE", nodes)
    assert found == [f"{rank} {rank % RANKS} {RANKS * nodes}" for rank in range(RANKS * nodes)]


@pytest.mark.parametrize("nodes", [1, 3])
def test_torchrun_gets_the_nodes_of_the_job(cluster: SlurmCluster, tmp_path: Path, nodes: int) -> None:
    found = told(cluster, tmp_path, Torchrun(), "$1 $2 $3", nodes)
    assert found == [f"--nnodes={nodes} --nproc-per-node={RANKS} --node-rank={rank}" for rank in range(nodes)]


def test_processes_of_jax_and_of_a_frameworks_launcher_have_their_number(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    words = "$JAX_PROCESS_ID $JAX_NUM_PROCESSES ${JAX_COORDINATOR_ADDRESS##*:} $JAX_LOCAL_DEVICE_IDS"
    found = [line.split() for line in told(cluster, tmp_path / "nodes", Jax(), words, 3)]
    [port] = {line[2] for line in found}
    assert found == [[str(node), "3", port] for node in range(3)]
    found = [line.split() for line in told(cluster, tmp_path / "ranks", Jax(per_accelerator=True), words, 2)]
    assert [line[:2] + line[3:] for line in found] == [
        [str(rank), str(2 * RANKS), str(rank % RANKS)] for rank in range(2 * RANKS)
    ]
    words = "$NODE_RANK $NNODES $RANKS_PER_NODE $WORLD_SIZE"
    found = [line.split() for line in told(cluster, tmp_path / "own", Command(), words, 2)]
    assert found == [[str(node), "2", str(RANKS), str(2 * RANKS)] for node in range(2)]
