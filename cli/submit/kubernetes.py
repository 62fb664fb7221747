"""Submission to Kubernetes: kubectl create, in the context of the EKS cluster that the ClusterInfo names."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from catalog.cluster_info import ClusterInfo
from cli.submit.kubernetes_contexts import EksCluster, NoContextError, context_of
from cli.submit.run_progress import RunProgress, echo
from cli.submit.submission import (
    Submission,
    SubmissionError,
    SubmittedJob,
    answer_of,
    cluster_text,
    failure,
    output_of,
    run_text,
)
from workloads.progress import PrintedBy
from workloads.render.manifest import INSTANCE
from workloads.spec import Run

POLL_SECONDS = 10
"""Seconds between two looks at a job."""

_TIMEOUT = "--request-timeout=20s"
"""Timeout of queries: a cluster that does not answer (a private endpoint, from outside) is reported at once."""

_TAIL = "--tail=50"
"""Number of a log's lines that are read at each look."""

_WHOLE = "--tail=-1"
"""All lines, which the report of a benchmark needs."""

_SUCCEEDED = ("Succeeded", "Complete", "Completed")
_FAILED = "Failed"
"""Conditions in which jobs end: kubeflow.org says Succeeded (kubeflow-training's constants), trainer.kubeflow.org
Complete (its API's TrainJobComplete), both Failed. What SageMaker's operator says is not documented: any of them."""


_RAY_STATE = "jobDeploymentStatus"
"""The state of a RayJob, which has no conditions (kuberay 1.5, rayjob_types.go)."""

_RAY_FAILED = ("Failed", "ValidationFailed")

_RAY_EXIT_CODE = re.compile(r"exit code (\d+)")
"""Part of the message of a driver that failed (ray 2.60, job_supervisor.py); its pods are deleted a minute later."""


def kubernetes_submission(run: Run, info: ClusterInfo, text: str) -> Submission:
    """Return how an object is created. A job of its name that is there already is an obstacle, never overwritten."""
    where = f"{cluster_text(info)}, namespace '{info.namespace}'"
    said = run_text(run, info, f"'{run.name}', the name of the job")
    if not shutil.which("kubectl"):
        obstacle = (
            f"'kubectl' is not on this machine; install it, then '{EksCluster.of(info).kubeconfig_command}'"
        )
        return Submission(where, "kubectl create -f -", said, _never, obstacle)
    try:
        context = context_of(info)
    except NoContextError as error:
        return Submission(where, "kubectl create -f -", said, _never, str(error))
    job = _Job(run, info, text, context)
    call = f"{shlex.join([*job.kubectl, 'create'])} -f -"
    return Submission(where, call, said, job.send, job.obstacle())


def _never(after: Sequence[str] = ()) -> SubmittedJob:
    assert not after
    raise AssertionError("a reported obstacle was ignored")


class _Job:
    """An object that is to be created, and its cluster by kubectl's context."""

    def __init__(self, run: Run, info: ClusterInfo, text: str, context: str) -> None:
        kind = re.search(r"^kind: (\w+)$", text, re.MULTILINE)
        group = re.search(r"^apiVersion: ([\w.-]+)/", text, re.MULTILINE)
        assert kind
        assert group
        self.run, self.info, self.text = run, info, text
        self.kind, self.group = kind[1], group[1]
        self.kubectl = ["kubectl", "--context", context]
        self.name = [f"{kind[1].lower()}.{group[1]}", run.name, "--namespace", info.namespace]
        self.pods = ["--namespace", info.namespace, "--selector", f"{INSTANCE}={run.name}"]

    def obstacle(self) -> str:
        """Return what prevents the cluster from taking the job: a job of its name, no operator for it, no answer."""
        program = [*self.kubectl, _TIMEOUT, "get", *self.name, "--ignore-not-found", "--output", "name"]
        done = subprocess.run(program, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if done.returncode == 0:
            return self._exists() if done.stdout.strip() else ""
        if "doesn't have a resource type" in done.stderr:
            return (
                f"the cluster has no kind {self.kind} ({self.group}): its operator is not installed; "
                "try another format with --as"
            )
        # A user who may create but not read objects sees the rest at the creation.
        return "" if "(Forbidden)" in done.stderr else failure(program, done)

    def send(self, after: Sequence[str] = ()) -> SubmittedJob:
        """Create the object; it waits for no other.

        Raises:
            SubmissionError: the cluster did not take it.
        """
        assert not after, "its format chains no jobs"
        try:
            said = output_of([*self.kubectl, "create", "-f", "-"], self.text)
        except SubmissionError as error:
            raise SubmissionError(
                self._exists() if "(AlreadyExists)" in str(error) else str(error)
            ) from error
        logs = ["logs", *self.pods, "--follow", "--prefix", "--max-log-requests", str(self._most_pods())]
        return SubmittedJob(
            self._wait,
            f"submitted {said}",
            (shlex.join([*self.kubectl, "get", "pods", *self.pods]), shlex.join([*self.kubectl, *logs])),
            self.run.id or self.run.name,
            shlex.join([*self.kubectl, "delete", *self.name]),
        )

    def _most_pods(self) -> int:
        """Return how many pods the job has at most: those of a JobSet's stages stay, and a RayJob has a head."""
        counts = re.findall(r"^ +completions: (\d+)$", self.text, re.MULTILINE)
        return sum(map(int, counts)) or self.run.nodes + (self.kind == "RayJob")

    def _exists(self) -> str:
        delete = shlex.join([*self.kubectl, "delete", *self.name])
        return (
            f"there is a job '{self.run.name}' already in namespace '{self.info.namespace}', and it is left as it is. "
            f"To resume its run when it has ended: '{delete}', then launch again. To start another beside it: "
            "another --run-id"
        )

    def _wait(self) -> int:
        """Return the exit code of the job when it has ended: 0, or that of the first of its pods that failed.

        Raises:
            SubmissionError: the cluster does not say.
        """
        progress = RunProgress(self.run, echo)
        while True:
            self._read_log(progress)
            program = [*self.kubectl, _TIMEOUT, "get", *self.name, "--output", "json"]
            status = json.loads(answer_of(program, POLL_SECONDS)).get("status") or {}
            ended = {one["type"] for one in status.get("conditions") or [] if one.get("status") == "True"}
            if _RAY_STATE in status:
                ended = {_ray_end(status)}
            if ended.intersection(_SUCCEEDED):
                self._read_log(progress)
                return progress.finish(0, lambda: self._log(_WHOLE))
            if _FAILED in ended and (code := _ray_exit_code(status)):
                return code
            if _FAILED in ended:
                program = [*self.kubectl, _TIMEOUT, "get", "pods", *self.pods, "--output", "json"]
                return _exit_code(json.loads(answer_of(program, POLL_SECONDS)))
            time.sleep(POLL_SECONDS)

    def _read_log(self, progress: RunProgress) -> None:
        """Read the newest lines of the program's log."""
        if self.run.progress.pattern:
            for text in self._log(_TAIL):
                progress.read_line(text)

    def _log(self, lines: str) -> list[str]:
        """Return lines of the pod that prints progress; none where a user may not read logs."""
        program = [*self.kubectl, _TIMEOUT, "get", "pods", *self.pods, "--output", "name"]
        found = subprocess.run(program, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        pods = printing_pods(found.stdout.split(), self.run.progress.printed_by)
        if not pods:
            return []
        program = [*self.kubectl, _TIMEOUT, "logs", pods[0], "--namespace", self.info.namespace, lines]
        log = subprocess.run(program, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        return log.stdout.splitlines()


def _ray_end(status: Mapping[str, Any]) -> str:
    """Return the condition of other jobs that corresponds to a RayJob's state; empty while it runs."""
    state = status[_RAY_STATE]
    if state in _RAY_FAILED:
        return _FAILED
    if state != "Complete":
        return ""
    # A driver that somebody stopped is complete, too.
    return "Succeeded" if status.get("jobStatus") == "SUCCEEDED" else _FAILED


def _ray_exit_code(status: Mapping[str, Any]) -> int:
    """Return the exit code of a RayJob's driver, or 0 where nothing says it."""
    found = _RAY_EXIT_CODE.search(status.get("message") or "") if _RAY_STATE in status else None
    return int(found[1]) if found else 0


def printing_pods(pods: Sequence[str], printed_by: PrintedBy) -> list[str]:
    """Return a job's pods by their names, the one that prints the lines of progress first.

    A launcher prints for all; else rank 0's is the first by its numbers, a master before workers.
    """
    ordered = sorted(
        pods, key=lambda pod: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", pod)]
    )
    if printed_by is PrintedBy.LAST_RANK and not any("-launcher" in pod for pod in pods):
        ordered.reverse()
    return ordered


def _exit_code(pods: dict[str, Any]) -> int:
    """Return the exit code of the container that failed first, or 1 if no container is left."""
    states = [
        container.get("state", {}).get("terminated") or {}
        for pod in pods.get("items") or []
        for container in pod.get("status", {}).get("containerStatuses") or []
    ]
    failed = sorted(
        (state.get("finishedAt") or "", state["exitCode"]) for state in states if state.get("exitCode")
    )
    return int(failed[0][1]) if failed else 1
