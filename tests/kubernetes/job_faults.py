"""Faults done to jobs on process nodes under the real controllers, and what becomes of each."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from catalog.kubernetes import FORCED_AFTER_SECONDS, GRACE_SECONDS, UNREACHABLE_SECONDS
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.process_nodes import ProcessNodes
from tests.kubernetes.training_jobs import NAMESPACE, Job
from tests.training.faults import SLOW, STALL_SECONDS, Losses, Outcome, outcome
from workloads.spec import Format

SILENT_SECONDS = 50
"""After so much silence a node is unreachable (Kubernetes 1.35, `--node-monitor-grace-period`)."""

LOST_SECONDS = {
    Format.TRAINJOB: GRACE_SECONDS[0] + FORCED_AFTER_SECONDS,
    Format.PYTORCHJOB: SILENT_SECONDS + UNREACHABLE_SECONDS + GRACE_SECONDS[0] + FORCED_AFTER_SECONDS,
}
"""Seconds until a job of the tiny presets leaves a lost node, as docs/reliability.md has it."""

LATE_SECONDS = 60
"""Further seconds for a busy machine."""

TITLES = {Format.TRAINJOB: "TrainJob", Format.PYTORCHJOB: "PyTorchJob"}


@dataclass(frozen=True)
class Scene:
    """The target of a fault: a cluster, its process nodes, a workload, and the losses of its local run."""

    cluster: Cluster
    nodes: ProcessNodes
    workload: str
    whole: Callable[[], Losses]

    def job(self, format_: Format, id_: str, *arguments: str, **options: object) -> Job:
        """Submit a job of this workload."""
        return Job(
            self.cluster.api, self.nodes, self.workload, format_, f"{format_}-{id_}", *arguments, **options
        )  # type: ignore[arg-type]

    def outcome(self, job: Job, fault: str, what: str) -> Outcome:
        """Compare all that a job reported with the local run."""
        seconds = job.seconds
        where = f"{TITLES[job.format]}, {self.workload}"
        return outcome(where, fault, what, job.log, self.whole(), seconds)


def _resumed(job: Job, begun: float, starts: int) -> str:
    """Wait until a job trains again, and return the time since the fault in words."""
    job.await_another_start(starts)
    return f"trains again after {time.monotonic() - begun:.0f} s"


def nothing(scene: Scene, format_: Format) -> Outcome:
    """No fault: the job runs to its end."""
    job = scene.job(format_, "whole")
    job.finish()
    assert job.starts() == 1
    found = scene.outcome(job, "none", "runs to its end")
    job.delete()
    return found


def rank_killed(scene: Scene, format_: Format) -> Outcome:
    """SIGKILL of one rank, as the kernel does when memory runs out."""
    job = scene.job(format_, "killed", SLOW)
    job.await_checkpoint()
    begun, starts = time.monotonic(), job.starts()
    os.kill(job.ranks()[1], signal.SIGKILL)
    again = _resumed(job, begun, starts)
    job.finish()
    found = scene.outcome(job, "SIGKILL of one rank", f"rank 1 of 2 killed; {again}")
    job.delete()
    return found


def rank_frozen(scene: Scene, format_: Format) -> Outcome:
    """SIGSTOP of one rank: the launch guard ends the run on both nodes, and it is started again."""
    job = scene.job(format_, "frozen", SLOW, environment={"TRAINFORGE_STALL_SECONDS": str(STALL_SECONDS)})
    job.await_checkpoint()
    begun, starts = time.monotonic(), job.starts()
    os.kill(job.ranks()[1], signal.SIGSTOP)
    again = _resumed(job, begun, starts)
    assert "T (stopped)" in job.log, job.log
    job.finish()
    what = f"rank 1 stopped by SIGSTOP; found after {STALL_SECONDS} s, reported, ended by the launch guard; {again}"
    found = scene.outcome(job, "SIGSTOP of one rank", what)
    job.delete()
    return found


def pod_deleted(scene: Scene, format_: Format) -> Outcome:
    """Deletion of a pod, as an eviction does: SIGTERM, a checkpoint of that step, another start."""
    job = scene.job(format_, "deleted", SLOW)
    job.await_checkpoint()
    begun, starts = time.monotonic(), job.starts()
    pod = job.pod_of(1)
    assert pod
    name = pod["metadata"]["name"]
    scene.cluster.api.delete("v1", "Pod", name, namespace=NAMESPACE)
    again = _resumed(job, begun, starts)
    assert "stopped by signal 15 after step" in job.log, job.log
    job.finish()
    found = scene.outcome(job, "pod deleted", f"the pod of rank 1 deleted: saved and exited; {again}")
    assert found.repeated == 0, job.log
    job.delete()
    return found


def node_lost(scene: Scene, format_: Format) -> Outcome:
    """SIGKILL of the node of rank 1: the cluster gets no message, and its object stays."""
    job = scene.job(format_, "lost", SLOW)
    job.await_checkpoint()
    begun, starts = time.monotonic(), job.starts()
    pod = job.pod_of(1)
    assert pod
    lost = pod["spec"]["nodeName"]
    scene.nodes.lose(lost)

    def elsewhere() -> bool:
        found = job.pod_of(1)
        return found is not None and found["spec"].get("nodeName", lost) != lost

    job.await_("a pod on a spare node", elsewhere)
    placed = time.monotonic() - begun
    assert placed < LOST_SECONDS[format_] + LATE_SECONDS, f"{placed:.0f} s"
    again = _resumed(job, begun, starts)
    job.finish()
    what = f"the node of rank 1 killed, its Node object remains; a pod on a spare node after {placed:.0f} s; {again}"
    found = scene.outcome(job, "node lost", what)
    job.delete()
    return found


def preempted(scene: Scene, format_: Format) -> Outcome:
    """A job of a queue that borrows gives its nodes back to the queue that owns them, and continues afterwards."""
    job = scene.job(format_, "preempted", SLOW, queue="production")
    job.await_checkpoint()
    begun, starts = time.monotonic(), job.starts()
    other = next(one for one in TITLES if one is not format_)
    owner = scene.job(other, "owner", "--steps=20", queue="research")
    owner.await_step(1)
    assert not [one for one in job.pods() if one["status"]["phase"] == "Running"]
    waited = time.monotonic() - begun
    owner.finish()
    owner.delete()
    begun = time.monotonic()
    again = _resumed(job, begun, starts)
    assert "stopped by signal 15 after step" in job.log, job.log
    job.finish()
    what = f"preempted by another queue's job, which trains after {waited:.0f} s and ends; {again}"
    found = scene.outcome(job, "pre-empted", what)
    job.delete()
    return found


def api_server_restarted(scene: Scene, format_: Format, restart: Callable[[], None]) -> Outcome:
    """A restart of the API server, as at an update of the control plane: the job does not notice."""
    job = scene.job(format_, "restart", SLOW)
    job.await_checkpoint()
    restart()
    job.finish()
    assert job.starts() == 1, job.log
    found = scene.outcome(job, "API server restarted", "restarted; the job continues")
    job.delete()
    return found
