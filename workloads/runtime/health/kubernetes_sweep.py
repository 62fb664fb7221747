"""The sweep of a Kubernetes cluster: a suite as a Job of its own on each idle node, and one verdict over all of them.

    python3 -m health.kubernetes_sweep --jobs /etc/trainforge-health/jobs.json --suite standard

Each Job asks for all accelerators of its node, so the scheduler starts it only where none is in use, and its priority
is below that of every other pod: a pod that needs the node preempts it. In it the agent (kubernetes_agent.py) runs one
round and writes to the Node, whose annotation is read here.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kubernetes_agent import ACCOUNT, SWEEP_ANNOTATION, Refused, Server, address
from .severity import Severity
from .suites import SUITES
from .sweep import SUITES as SWEPT
from .sweep import Line, exit_code, of_report, table

SWEEP_LABEL = "trainforge/health-sweep"
ARCHITECTURE = "kubernetes.io/arch"
"""The label of a node with its architecture, as Go names it (kubernetes.io, "Well-Known Labels")."""

_TYPE = "node.kubernetes.io/instance-type"
_POLL_SECONDS = 2.0
_START_SECONDS = 90
"""Seconds for a node's Job to start before the node counts as busy: our choice, enough to pull the image."""

_MARGIN_SECONDS = 300
"""Seconds that a Job may take beyond its suite and its start: our choice."""

_GONE_SECONDS = 60
"""Seconds that a Job may have no pod that runs, after it had one, until it has ended: our choice."""

_GAVE_WAY = "gave way to other pods, or its node was lost"

_DISRUPTED = "PodFailurePolicy"
"""The reason of a Job that its policy on disrupted pods has failed (kubernetes.io, "Pod failure policy")."""


@dataclass
class _Job:
    node: str
    name: str
    before: str
    running: float = 0.0
    left_out: str = ""
    ended: str = ""


class Sweep:
    """A sweep: the Jobs to create, by architecture, and the API server. `jobs` is the content of the file --jobs.

    It has `namespace`, `types` with the accelerator's resource by instance type, and `jobs` by the label of a node's
    architecture.
    """

    def __init__(self, server: Server, jobs: Mapping[str, Any], suite: str, start_seconds: float) -> None:
        self.server, self.suite, self.start_seconds = server, suite, start_seconds
        self.types: dict[str, str] = jobs["types"]
        self.templates: dict[str, Any] = jobs["jobs"]
        self.path = f"/apis/batch/v1/namespaces/{jobs['namespace']}/jobs"
        self.name = f"{time.strftime('%Y%m%dt%H%M%S')}-{os.getpid()}"

    def run(self, say: Callable[[str], None]) -> list[Line]:
        """Check the idle nodes and return the verdicts of all accelerated nodes.

        Raises:
            Refused: the server says no, or does not answer.
        """
        lines, jobs = [], []
        try:
            for node in self._nodes().values():
                name = node["metadata"]["name"]
                found = self._unfit(node)
                if found is None:
                    jobs.append(_Job(name, self._create(node), _report_of(node)))
                else:
                    lines.append(found)
            say(f"{len(jobs)} nodes to check")
            self._follow(jobs)
        except BaseException:
            for job in jobs:
                self._delete(job.name)
            raise
        nodes = self._nodes()
        return lines + [self._line(job, nodes.get(job.node)) for job in jobs]

    def _nodes(self) -> dict[str, dict[str, Any]]:
        asked = urllib.parse.urlencode({"labelSelector": f"{_TYPE} in ({','.join(sorted(self.types))})"})
        found = self.server.call("GET", f"/api/v1/nodes?{asked}")
        return {node["metadata"]["name"]: node for node in found["items"]}

    def _unfit(self, node: Mapping[str, Any]) -> Line | None:
        """Return the line of a node that no Job is created for."""
        name = node["metadata"]["name"]
        ready = [
            one["status"] for one in node.get("status", {}).get("conditions", ()) if one["type"] == "Ready"
        ]
        if ready != ["True"]:
            return Line(name, None, "not ready")
        if node["spec"].get("unschedulable"):
            return Line(name, None, "cordoned")
        if not self._accelerators(node):
            return Line(name, Severity.ERROR, f"the node has no {self._resource(node)} for pods")
        return None

    def _resource(self, node: Mapping[str, Any]) -> str:
        return self.types[node["metadata"]["labels"][_TYPE]]

    def _accelerators(self, node: Mapping[str, Any]) -> int:
        return int(node.get("status", {}).get("allocatable", {}).get(self._resource(node), 0))

    def _create(self, node: Mapping[str, Any]) -> str:
        """Create the Job of a node and return its name."""
        job = copy.deepcopy(self.templates[node["metadata"]["labels"][ARCHITECTURE]])
        job["metadata"].setdefault("labels", {})[SWEEP_LABEL] = self.name
        seconds = SUITES[self.suite].seconds + self.start_seconds + _MARGIN_SECONDS
        job["spec"]["activeDeadlineSeconds"] = int(seconds)
        pod = job["spec"]["template"]["spec"]
        field = {"key": "metadata.name", "operator": "In", "values": [node["metadata"]["name"]]}
        terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
        pod["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
        [container] = pod["containers"]
        container["args"] = [*container["args"], f"--suite={self.suite}"]
        devices = {self._resource(node): str(self._accelerators(node))}
        for kind in ("requests", "limits"):
            container["resources"].setdefault(kind, {}).update(devices)
        return str(self.server.call("POST", self.path, job)["metadata"]["name"])

    def _follow(self, jobs: Sequence[_Job]) -> None:
        """Wait until all Jobs have ended, and delete those that do not start."""
        deadline = time.monotonic() + self.start_seconds
        asked = urllib.parse.urlencode({"labelSelector": f"{SWEEP_LABEL}={self.name}"})
        while any(not job.ended for job in jobs):
            found = {
                one["metadata"]["name"]: one
                for one in self.server.call("GET", f"{self.path}?{asked}")["items"]
            }
            for job in jobs:
                if not job.ended:
                    self._look(job, found.get(job.name), late=time.monotonic() > deadline)
            time.sleep(_POLL_SECONDS)

    def _look(self, job: _Job, found: Mapping[str, Any] | None, *, late: bool) -> None:
        if found is None:
            job.ended = "its Job was deleted"
            return
        status = found.get("status", {})
        ends = [one for one in status.get("conditions", ()) if one.get("status") == "True"]
        for one in ends:
            if one["type"] == "Complete":
                job.ended = "complete"
            elif one["type"] == "Failed" and one.get("reason") == _DISRUPTED:
                job.ended = job.left_out = _GAVE_WAY
            elif one["type"] == "Failed":
                job.ended = f"its Job failed: {one.get('reason', '')}: {one.get('message', '')}"
        now = time.monotonic()
        if status.get("ready"):
            job.running = now
        elif not job.ended and late and now > job.running + _GONE_SECONDS:
            job.left_out = (
                _GAVE_WAY if job.running else "busy: its accelerators are in use, or a taint keeps pods away"
            )
            job.ended = job.left_out
            self._delete(job.name)

    def _delete(self, name: str) -> None:
        try:
            self.server.call("DELETE", f"{self.path}/{name}", {"propagationPolicy": "Background"})
        except Refused as refusal:
            sys.stderr.write(f"health sweep: {refusal}\n")

    def _line(self, job: _Job, node: Mapping[str, Any] | None) -> Line:
        """Return the verdict of a node: by its annotation, if the Job has written one."""
        report = _report_of(node or {"metadata": {}})
        if report != job.before:
            try:
                return of_report(job.node, json.loads(report))
            except (ValueError, KeyError) as error:
                return Line(job.node, Severity.ERROR, f"the annotation {SWEEP_ANNOTATION}: {error!r}")
        if job.left_out:
            return Line(job.node, None, job.left_out)
        said = "" if job.ended == "complete" else f": {job.ended}"
        return Line(
            job.node, Severity.ERROR, f"no report; 'kubectl logs job/{job.name}' has the reason{said}"
        )


def _report_of(node: Mapping[str, Any]) -> str:
    annotations: Mapping[str, str] = node["metadata"].get("annotations") or {}
    return annotations.get(SWEEP_ANNOTATION, "")


def main(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run the sweep and return its exit code: 0, 1 or 3 by the verdict, 2 where it cannot run."""
    parser = argparse.ArgumentParser(
        prog="health.kubernetes_sweep", description="check the idle nodes of this Kubernetes cluster"
    )
    add = parser.add_argument
    add("--jobs", type=Path, required=True, help="the file with the Jobs")
    add("--suite", choices=SWEPT, default=SWEPT[0], help=f"default: {SWEPT[0]}")
    add("--start-seconds", type=float, default=_START_SECONDS, help=f"default: {_START_SECONDS}")
    add("--account", type=Path, default=Path(ACCOUNT), help="folder of the token, for tests")
    given = parser.parse_args(words)
    try:
        jobs = json.loads(given.jobs.read_text(encoding="utf-8"))
        server = Server(address(environment), given.account)
        lines = Sweep(server, jobs, given.suite, given.start_seconds).run(
            lambda text: print(text, flush=True)  # noqa: T201 -- a command
        )
    except (OSError, ValueError, KeyError, Refused) as error:
        sys.stderr.write(f"health sweep: {error}\n")
        return 2
    for line in table(lines):
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    return exit_code(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
