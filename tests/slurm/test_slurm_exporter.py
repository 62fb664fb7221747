"""The Slurm exporter against a real Slurm 24.11: jobs and GPUs appear and go, and a silent controller is reported."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from catalog.metrics import of_exporter
from tests.programs import ROOT
from tests.slurm.cluster import SlurmCluster

pytestmark = pytest.mark.heavy

SECONDS = 60.0
LABELS = {metric.name: metric.labels for metric in of_exporter("slurm")}
Found = dict[str, dict[tuple[str, ...], float]]


@pytest.fixture(scope="module")
def slurm(artifacts: Callable[[str], Path]) -> Iterator[SlurmCluster]:
    folder = artifacts("slurm-exporter")
    scripts = {}
    for name, action in (("Prolog", "add"), ("Epilog", "remove")):
        # Slurm gives them no PATH and no folder of their own; a node's own is its name's here.
        script = folder / f"{name.lower()}.sh"
        script.write_text(
            f"#!/bin/sh\ncd '{ROOT / 'programs'}'\n"
            f"exec '{sys.executable}' -m exporters gpu-jobs {action} --folder {folder}/jobs/$SLURMD_NODENAME\n",
            encoding="utf-8",
        )
        script.chmod(0o755)
        scripts[name] = str(script)
    partitions = {"gpu": ["gpu-1", "gpu-2"], "cpu": ["cpu-1"]}
    settings = {**scripts, "PrologFlags": "Alloc"}
    with SlurmCluster(folder, partitions, gpus=2, settings=settings) as cluster:
        yield cluster


def collected(slurm: SlurmCluster) -> Found:
    """Return the samples that the program prints, by metric and values of labels."""
    done = subprocess.run(
        [sys.executable, "-m", "exporters", "slurm", "--once"],
        cwd=ROOT / "programs",
        env=slurm.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: Found = {}
    for family in text_string_to_metric_families(done.stdout):
        for sample in family.samples:
            labels = tuple(sample.labels[label] for label in LABELS[sample.name])
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def wait_for(slurm: SlurmCluster, condition: Callable[[Found], bool]) -> Found:
    deadline = time.monotonic() + SECONDS
    while not condition(found := collected(slurm)):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def test_jobs_and_gpus_appear_and_go(slurm: SlurmCluster) -> None:
    idle = collected(slurm)
    assert idle["trainforge_slurm_command_success"] == {("squeue",): 1, ("nodes",): 1, ("sdiag",): 1}
    assert idle["slurm_nodes_idle"] == {(): 3}
    assert (idle["trainforge_slurm_gpus"][()], idle["trainforge_slurm_gpus_allocated"][()]) == (6, 0)
    words = ("--parsable", "--partition=gpu", "--nodes=2", "--gres=gpu:2", "--wrap=sleep 600")
    running, waiting = (slurm.run("sbatch", f"--job-name={name}", *words).strip() for name in ("one", "two"))
    found = wait_for(slurm, lambda found: found["slurm_jobs_running"][()] == 1)
    assert {labels[0]: labels[3] for labels in found["trainforge_slurm_job_info"]} == {running: "one"}
    assert set(found["trainforge_slurm_job_node"]) == {(running, "gpu-1"), (running, "gpu-2")}
    assert found["trainforge_slurm_job_gpus"] == {(running,): 4}
    assert found["trainforge_slurm_gpus_allocated"] == {(): 4}
    assert found["slurm_partition_jobs_pending"][("gpu",)] == 1
    assert found["trainforge_slurm_oldest_pending_seconds"][("gpu",)] >= 0
    slurm.run("scontrol", "hold", waiting)
    slurm.run("scontrol", "update", "NodeName=cpu-1", "State=DRAIN", "Reason=test")
    held = wait_for(slurm, lambda found: found["slurm_jobs_hold"][()] == 1)
    assert held["slurm_nodes_drained"] == {(): 1}
    assert held["trainforge_slurm_gpus_unavailable"] == {(): 2}
    slurm.run("scancel", running, waiting)
    after = wait_for(slurm, lambda found: found["trainforge_slurm_gpus_allocated"][()] == 0)
    assert after["slurm_jobs_running"] == {(): 0}
    assert "trainforge_slurm_job_node" not in after


def test_prolog_and_epilog_write_which_job_has_which_gpu(slurm: SlurmCluster) -> None:
    """As dcgm-exporter reads it; with the variables that Slurm gives its prolog."""
    jobs = slurm.folder / "jobs"

    def written() -> dict[str, str]:
        return {path.relative_to(jobs).as_posix(): path.read_text().strip() for path in jobs.glob("*/[0-9]*")}

    words = ("--parsable", "--partition=gpu", "--wrap=sleep 600")
    both = slurm.run("sbatch", "--nodes=2", "--gres=gpu:1", *words).strip()
    wait_for(slurm, lambda _: len(written()) == 2)
    one = slurm.run("sbatch", "--nodes=1", "--gres=gpu:1", "--nodelist=gpu-2", *words).strip()
    wait_for(slurm, lambda _: len(written()) == 3)
    assert written() == {"gpu-1/0": both, "gpu-2/0": both, "gpu-2/1": one}
    slurm.run("scancel", both)
    wait_for(slurm, lambda _: written() == {"gpu-2/1": one})
    slurm.run("scancel", one)
    wait_for(slurm, lambda _: written() == {})
    assert set(slurm.states().values()) <= {"idle", "completing", "drained"}
