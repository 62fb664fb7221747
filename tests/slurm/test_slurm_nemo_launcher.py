"""nemo-launcher's sbatch script on a real Slurm: hydra-core composes on two nodes, a placeholder takes NeMo's place."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster_infos import with_environment
from tests.progress_log import series
from tests.slurm.cluster import SlurmCluster
from tests.training.framework_runs import framework
from workloads.registry import workload
from workloads.render.slurm import slurm as render
from workloads.spec import Run

DEADLINE_SECONDS = 300


@pytest.mark.heavy
@pytest.mark.proof("nemo-launcher", "slurm", "executed")
def test_two_nodes_compose_the_configuration_and_start_its_program(
    artifacts: Callable[[str], Path],
) -> None:
    folder = artifacts("slurm-nemo-launcher")
    described = workload("nemo-launcher")
    preset = described.presets["tiny"]
    info = with_environment("parallelcluster", folder / "shared", environment=str(framework("nemo-launcher")))
    (folder / "shared").mkdir()
    script = folder / "job.sbatch"
    run = Run.on_type(described, preset, preset.instance_type, 2, "cpu")
    script.write_text(render(run, info), encoding="utf-8")
    with SlurmCluster(folder / "cluster", {"cpu": ["n1", "n2"]}) as cluster:
        job = cluster.run("sbatch", "--parsable", script.name, directory=folder).strip()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not re.search(
            r"JobState=(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL)",
            shown := cluster.run("scontrol", "show", "job", job),
        ):
            assert time.monotonic() < deadline, shown
            time.sleep(0.2)
    log = "".join(path.read_text(encoding="utf-8") for path in folder.glob(f"*_{job}.out"))
    assert "JobState=COMPLETED" in shown, log
    assert log.count("PLACEHOLDER: a linear regression on processors in place of NeMo's program") == 1
    assert series(log, described.progress.pattern)["step"] == list(range(1, 21))
    written = folder / "shared" / "runs" / "nemo-launcher" / job / "pretraining.yaml"
    assert "  num_nodes: 2\n" in written.read_text(encoding="utf-8")
