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
from tests.training.runs import fsdp_losses, losses_of
from workloads.registry import workload
from workloads.spec import Run

_WORDS = ("--steps=20", "--warmup-steps=2", "--checkpoint-every=5")


def _second_rank(log: str) -> list[int]:
    """Return the processes of rank 1, of all starts of the ranks, which Ray tells with their places."""
    return list(map(int, re.findall(r"pid=(\d+)\) world_rank=1, local_rank=0, node_rank=1\b", log)))


# Ray starts a dozen programs per node and twice the ranks: minutes where other tests take the cores.
@pytest.mark.timeout(1500)
@pytest.mark.heavy
@pytest.mark.proof("ray-train", "slurm", "executed")
@pytest.mark.resuming("ray-train")
def test_the_nodes_of_a_job_are_a_ray_cluster_that_resumes_after_a_rank_is_killed(
    artifacts: Callable[[str], Path], run_folder: Path
) -> None:
    """It has the losses of an uninterrupted run under torchrun, bit for bit."""
    folder = artifacts("slurm-ray")
    described = workload("ray-train")
    preset = described.presets["tiny"]
    preset = replace(preset, arguments=(*preset.arguments, *_WORDS, "--step-seconds=0.5"))
    run = Run.on_type(described, preset, preset.instance_type, 2, "cpu")
    script = write_script(folder, run, framework("ray-train"))
    with SlurmCluster(folder / "cluster", {"cpu": ["n1", "n2"]}) as cluster:
        job = BatchJob.submit(cluster, script)
        job.wait_for(lambda: "step=7 " in job.log, "step 7")
        [rank] = _second_rank(job.log)
        # Ray's own choice would let every other program of the node come before the ranks.
        assert os.getpriority(os.PRIO_PROCESS, rank) == os.getpriority(os.PRIO_PROCESS, 0)
        os.kill(rank, signal.SIGKILL)
        assert job.end() == ("COMPLETED", 0), job.log
    assert naming(folder) == []
    log = job.log
    assert len(_second_rank(log)) == 2
    # Its lines come by Ray's own log, which may be behind, and the newest checkpoint may not have been whole.
    assert re.findall(r"resuming after step (\d+) of 20", log) in (["5"], ["10"], ["15"])
    losses = losses_of(folder / "shared" / "runs" / "ray-train" / job.id)
    assert losses == fsdp_losses(run_folder, *_WORDS)
