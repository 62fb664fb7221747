"""nemo-launcher's sbatch script on a real Slurm: hydra-core composes on two nodes, a placeholder takes NeMo's place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.progress_log import series
from tests.slurm.batch_jobs import BatchJob, write_script
from tests.slurm.cluster import SlurmCluster
from tests.training.framework_runs import framework
from workloads.registry import workload
from workloads.spec import Run


@pytest.mark.heavy
@pytest.mark.proof("nemo-launcher", "slurm", "executed")
def test_two_nodes_compose_the_configuration_and_start_its_program(
    artifacts: Callable[[str], Path],
) -> None:
    folder = artifacts("slurm-nemo-launcher")
    described = workload("nemo-launcher")
    preset = described.presets["tiny"]
    run = Run.on_type(described, preset, preset.instance_type, 2, "cpu")
    script = write_script(folder, run, framework("nemo-launcher"))
    with SlurmCluster(folder / "cluster", {"cpu": ["n1", "n2"]}) as cluster:
        job = BatchJob.submit(cluster, script)
        assert job.end() == ("COMPLETED", 0), job.log
    log = job.log
    assert log.count("PLACEHOLDER: a linear regression on processors in place of NeMo's program") == 1
    assert series(log, described.progress.pattern)["step"] == list(range(1, 21))
    written = folder / "shared" / "runs" / "nemo-launcher" / job.id / "pretraining.yaml"
    assert "  num_nodes: 2\n" in written.read_text(encoding="utf-8")
