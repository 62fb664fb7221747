"""Containers on a Slurm without pyxis: an image never runs on the host instead; what needs none is a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.cluster_kinds import SLURM
from tests.cluster_infos import with_environment, with_images
from tests.container_sample import PRINTED, SAMPLE
from tests.slurm.cluster import SlurmCluster
from workloads import registry
from workloads.render.slurm import slurm as render
from workloads.spec import Run


@pytest.fixture(scope="module")
def cluster(artifacts: Callable[[str], Path]) -> Iterator[SlurmCluster]:
    with SlurmCluster(artifacts("slurm-containers"), {"cpu": ["n1", "n2"]}) as running:
        yield running


@pytest.mark.parametrize("section", SLURM)
def test_without_pyxis_nothing_runs_on_the_host(cluster: SlurmCluster, tmp_path: Path, section: str) -> None:
    workload = registry.workload("cpu-ddp")
    shared = tmp_path / "shared"
    shared.mkdir()
    info = with_images(section, shared, {"cpu-ddp": "registry.example/cpu-ddp:1"})
    preset = workload.presets["tiny"]
    script = tmp_path / "job.sbatch"
    script.write_text(
        render(Run.on_type(workload, preset, preset.instance_type, 2, "cpu"), info), encoding="utf-8"
    )
    said = cluster.run("sbatch", "--wait", "--parsable", script.name, directory=tmp_path, check=False)
    [log] = tmp_path.glob(f"*_{said.strip()}.out")
    assert "srun: unrecognized option '--container-image=registry.example#cpu-ddp:1'" in log.read_text()
    assert "JobState=FAILED" in cluster.run("scontrol", "show", "job", said.strip())
    assert list(shared.iterdir()) == []


def test_a_container_runs_before_the_program_and_one_beside_it_ends_with_it(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    info = with_environment("parallelcluster", tmp_path / "shared")
    (tmp_path / "shared").mkdir()
    preset = SAMPLE.presets["tiny"]
    script = tmp_path / "job.sbatch"
    script.write_text(
        render(Run.on_type(SAMPLE, preset, preset.instance_type, 2, "cpu"), info), encoding="utf-8"
    )
    said = cluster.run("sbatch", "--wait", "--parsable", script.name, directory=tmp_path, check=False)
    job = said.strip()
    [log] = tmp_path.glob(f"*_{job}.out")
    printed = log.read_text(encoding="utf-8")
    assert "JobState=COMPLETED" in cluster.run("scontrol", "show", "job", job), printed
    for node in (0, 1):
        assert f"{node}: {PRINTED}\n" in printed
        assert f"{node}: watching\n" in printed
        assert f"{node}: told\n" in printed
