"""ray-train's sbatch script on a real Slurm: a Ray cluster of the job's two nodes, which are processes here."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.processes import naming
from tests.slurm.batch_jobs import BatchJob, write_script
from tests.slurm.cluster import SlurmCluster
from tests.training.framework_runs import framework
from tests.training.runs import LocalRun, losses_of
from workloads.registry import workload
from workloads.spec import Run

_WORDS = ("--steps=20", "--warmup-steps=2", "--checkpoint-every=5")


def _second_rank(log: str) -> list[int]:
    """Return the processes of rank 1, of all starts of the ranks, which Ray tells with their places."""
    return list(map(int, re.findall(r"pid=(\d+)\) world_rank=1, local_rank=0, node_rank=1\b", log)))


@pytest.mark.heavy
@pytest.mark.proof("ray-train", "slurm", "executed")
@pytest.mark.resuming("ray-train")
def test_the_nodes_of_a_job_are_a_ray_cluster_that_resumes_after_a_rank_is_killed(
    artifacts: Callable[[str], Path],
) -> None:
    """It has the losses of an uninterrupted run under torchrun, bit for bit."""
    folder = artifacts("slurm-ray")
    described = workload("ray-train")
    preset = described.presets["tiny"]
    preset = replace(preset, arguments=(*preset.arguments, *_WORDS, "--step-seconds=0.3"))
    run = Run.on_type(described, preset, preset.instance_type, 2, "cpu")
    script = write_script(folder, run, framework("ray-train"))
    with SlurmCluster(folder / "cluster", {"cpu": ["n1", "n2"]}) as cluster:
        job = BatchJob.submit(cluster, script)
        job.wait_for(lambda: "step=7 " in job.log, "step 7")
        os.kill(_second_rank(job.log)[0], signal.SIGKILL)
        assert job.end() == ("COMPLETED", 0), job.log
    assert naming(folder) == []
    log = job.log
    assert len(_second_rank(log)) == 2
    # The newest checkpoint may not have been whole when the rank was killed.
    assert re.findall(r"resuming after step (\d+) of 20", log) in (["5"], ["10"])
    losses = losses_of(folder / "shared" / "runs" / "ray-train" / job.id)
    whole = LocalRun("fsdp", "tiny", folder / "fsdp", *_WORDS)
    assert whole.run() == 0, whole.log
    assert losses == whole.losses()
