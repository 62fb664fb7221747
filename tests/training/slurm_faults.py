"""Faults of a run of the fsdp workload on a real Slurm: a requeue, and a node that goes down."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from tests.cluster_infos import with_environment
from tests.slurm.cluster import SlurmCluster
from tests.training.faults import SLOW, STALL_SECONDS, Losses, Outcome, assert_reported, outcome, printed
from workloads import registry
from workloads.render.slurm import slurm
from workloads.spec import Run

NODES = {"cpu": ["n1", "n2", "n3"]}
"""Three nodes, of which a job takes two: the third is the spare."""

_DEADLINE_SECONDS = 600
_FAULT_STEP = 27
NOTHING: Mapping[str, str] = MappingProxyType({})


class SlurmRun:
    """The tiny preset on two nodes, submitted by the very script that the renderer writes."""

    def __init__(
        self, cluster: SlurmCluster, folder: Path, *arguments: str, environment: Mapping[str, str] = NOTHING
    ) -> None:
        self.cluster = cluster
        self._folder = folder
        info = with_environment("parallelcluster", folder / "shared")
        workload = registry.workload("fsdp")
        tiny = workload.presets["tiny"]
        preset = dataclasses.replace(tiny, arguments=(*tiny.arguments, *arguments))
        (folder / "shared").mkdir(parents=True)
        script = folder / "job.sbatch"
        run = Run.on_type(workload, preset, preset.instance_type, 2, "cpu", environment=environment)
        script.write_text(slurm(run, info), encoding="utf-8")
        self.id = cluster.run("sbatch", "--parsable", script.name, directory=folder).strip()

    @property
    def log(self) -> str:
        """Output of the job, over all its starts."""
        return "".join(path.read_text(encoding="utf-8") for path in self._folder.glob(f"*_{self.id}.out"))

    @property
    def state(self) -> str:
        """The job's state, as Slurm has it."""
        return self._shown(r"JobState=(\S+)")

    def nodes(self) -> list[str]:
        """Return the names of the nodes that the job runs on, or ran on last."""
        listed = self._shown(r"\n\s+NodeList=(\S+)")
        return self.cluster.run("scontrol", "show", "hostnames", listed).split()

    def wait_for_step(self, step: int) -> None:
        """Wait until a step was reported."""
        self._wait(lambda: any(done >= step for done, _ in printed(self.log)), f"step {step}")

    def start_again(self) -> None:
        """Wait for the requeue, and start soon: Slurm itself would wait two minutes.

        Not at once: slurmd has revoked the credentials of the start before, by the second, and refuses a start in
        the same one.
        """
        self._wait(lambda: self.state == "PENDING", "the requeue")
        self.cluster.run("scontrol", "update", f"JobId={self.id}", "StartTime=now+3")

    def ranks(self) -> dict[int, tuple[int, str]]:
        """Return each rank's process and the Slurm node that it runs on."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "environ").read_bytes().split(b"\0")
                trains = b"train.py" in (path / "cmdline").read_bytes()
            except OSError:
                continue
            variables = {
                name.decode(): value.decode() for name, _, value in (w.partition(b"=") for w in words)
            }
            if trains and variables.get("SLURM_JOB_ID") == self.id and "LOCAL_RANK" in variables:
                found[int(variables["RANK"])] = (int(path.name), variables["SLURMD_NODENAME"])
        return found

    def wait_for_checkpoint(self) -> None:
        """Wait until a checkpoint is finished."""
        self._wait(lambda: "checkpoint step=" in self.log, "the first checkpoint")

    def finish(self) -> None:
        """Wait until the job has completed."""
        ends = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}
        self._wait(lambda: self.state in ends, "the end")
        assert self.state == "COMPLETED", self.log

    def _shown(self, pattern: str) -> str:
        shown = self.cluster.run("scontrol", "show", "job", self.id)
        found = re.search(pattern, shown)
        assert found, shown
        return found[1]

    def _wait(self, reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not reached():
            assert time.monotonic() < deadline, f"{what}: not within {_DEADLINE_SECONDS} s\n{self.log}"
            time.sleep(0.2)


def requeued(cluster: SlurmCluster, folder: Path, whole: Losses) -> Outcome:
    """`scontrol requeue`, as an operator or a preemption does."""
    begun = time.monotonic()
    run = SlurmRun(cluster, folder, SLOW)
    run.wait_for_step(_FAULT_STEP)
    cluster.run("scontrol", "requeue", run.id)
    run.start_again()
    run.finish()
    what = f"requeued after step {_FAULT_STEP}; the same job restarts"
    return outcome("Slurm", "`scontrol requeue`", what, run.log, whole, time.monotonic() - begun)


def node_down(cluster: SlurmCluster, folder: Path, whole: Losses) -> Outcome:
    """A node set down under the job, which resumes on the spare."""
    begun = time.monotonic()
    run = SlurmRun(cluster, folder, SLOW)
    run.wait_for_step(_FAULT_STEP)
    lost = run.nodes()[-1]
    try:
        cluster.run("scontrol", "update", f"NodeName={lost}", "State=DOWN", "Reason=test")
        run.start_again()
        run.finish()
        assert lost not in run.nodes()
    finally:
        cluster.run("scontrol", "update", f"NodeName={lost}", "State=RESUME")
    what = f"one of two nodes set down after step {_FAULT_STEP}; the job resumes on the spare"
    return outcome("Slurm", "node down", what, run.log, whole, time.monotonic() - begun)


def rank_frozen(cluster: SlurmCluster, folder: Path, whole: Losses) -> Outcome:
    """SIGSTOP of a rank: the launch guard ends the run, and the batch script requeues it."""
    begun = time.monotonic()
    run = SlurmRun(cluster, folder, SLOW, environment={"TRAINFORGE_STALL_SECONDS": str(STALL_SECONDS)})
    run.wait_for_checkpoint()
    process, node = run.ranks()[1]
    os.kill(process, signal.SIGSTOP)
    run.start_again()
    run.finish()
    assert f"node 1 '{node}', rank 1 (process {process}): T (stopped)" in run.log, run.log
    assert "exit code 80: requeued, restart 1 of" in run.log, run.log
    [reports] = folder.glob(f"shared/runs/fsdp/{run.id}/stalls/*")
    assert_reported(reports, frozen=1, waiting=0)
    what = f"rank 1 stopped by SIGSTOP; found after {STALL_SECONDS} s, reported, ended, requeued by its batch script"
    return outcome("Slurm", "SIGSTOP of one rank", what, run.log, whole, time.monotonic() - begun)


def rank_crashed(cluster: SlurmCluster, folder: Path, whole: Losses) -> Outcome:
    """SIGKILL of a rank: Slurm itself would let the job fail; the batch script requeues it."""
    begun = time.monotonic()
    run = SlurmRun(cluster, folder, SLOW)
    run.wait_for_checkpoint()
    os.kill(run.ranks()[1][0], signal.SIGKILL)
    run.start_again()
    run.finish()
    assert "requeued, restart 1 of" in run.log, run.log
    what = "rank 1 killed; requeued by its batch script"
    return outcome("Slurm", "SIGKILL of one rank", what, run.log, whole, time.monotonic() - begun)


FAULTS: tuple[Callable[[SlurmCluster, Path, Losses], Outcome], ...] = (
    *(requeued, node_down, rank_frozen, rank_crashed),
)
"""Every fault that a scheduler brings about or repairs."""


def cluster_in(folder: Path) -> SlurmCluster:
    """Return a cluster whose nodes stay down, once set down, as broken ones do."""
    folder.mkdir(parents=True, exist_ok=True)
    return SlurmCluster(folder, NODES, settings={"ReturnToService": "1"})


def outcomes(folder: Path, whole: Losses) -> Iterator[Outcome]:
    """Yield what becomes of each fault, on a cluster of its own."""
    with cluster_in(folder / "cluster") as cluster:
        for fault in FAULTS:
            yield fault(cluster, folder / fault.__name__, whole)
