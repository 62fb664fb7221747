"""The health checks on a Kubernetes node: a pod that checks its node by interval, and writes the result to the Node.

    python3 -m health.kubernetes_agent --action taint

Each round runs the light suite in the node's own mounts. The result is the condition `HealthChecksPassed`, the
annotation `trainforge/health-report`, a line of JSON on standard output, and an Event where it changed. With the
action `taint` a node with a fault gets the taint `trainforge/unhealthy` too, which keeps new pods away. The agent never
takes the taint away: an event that leaves the kernel log is not repaired. With `repair`, on HyperPod, it sets the label
by which HyperPod replaces or reboots a node, if the finding asks for that.

A sweep (kubernetes_sweep.py) runs one round with another suite: `--suite standard --interval 0`. Its result has a
condition and an annotation of its own, which later rounds of the light suite leave alone.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import programs
from .report import examine, level_of
from .session import Options
from .severity import Severity, severity_of
from .suites import SUITES

ACTIONS = ("none", "taint", "repair")
CONDITION = "HealthChecksPassed"
ANNOTATION = "trainforge/health-report"
SWEEP_CONDITION = "HealthSweepPassed"
SWEEP_ANNOTATION = "trainforge/health-sweep-report"
TAINT = "trainforge/unhealthy"
REPAIR_LABEL = "sagemaker.amazonaws.com/node-health-status"
"""The label by which HyperPod repairs a node (SageMaker guide, "Manually quarantine, replace, or reboot a node")."""

_REPAIRS = {
    Severity.RESET: "UnschedulablePendingReboot",
    Severity.REBOOT: "UnschedulablePendingReboot",
    Severity.REPLACE: "UnschedulablePendingReplacement",
}
_SCHEDULABLE = ("", "Schedulable")
"""The label's values on a node that HyperPod does nothing with."""

COMPONENT = "trainforge-health"
EVENTS_NAMESPACE = "default"
"""The namespace of a Node's events, as the kubelet has it."""

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""The folder of a pod's token."""

_SUITE = "light"
_SHARED = "/run/trainforge-health"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INTERVAL_SECONDS = 300
_START_SECONDS = 20
_API_SECONDS = 30
_TRIES = 3
_CONFLICT = 409
_MAX_FINDINGS = 20
_MAX_MESSAGE = 900
"""An Event's message may have 1,024 bytes (Kubernetes, validation of events)."""

_STRATEGIC = "application/strategic-merge-patch+json"
_MERGE = "application/merge-patch+json"


class Refused(Exception):
    """A request that the API server did not grant; `code` is HTTP's, 0 where it did not answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Server:
    """The API server: its address, and the folder of the pod's account, with a token and the authority's certificate.

    The token is read for each request, because the kubelet renews it.
    """

    address: str
    account: Path

    def call(
        self, method: str, path: str, body: object = None, kind: str = "application/json"
    ) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            Refused: the server says no, or does not answer.
        """
        headers = {"Content-Type": kind, "Accept": "application/json"}
        try:
            token = (self.account / "token").read_text(encoding="utf-8").strip()
            headers["Authorization"] = f"Bearer {token}"
            context = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
            )
            data = None if body is None else json.dumps(body).encode()
            asked = urllib.request.Request(self.address + path, data, headers, method=method)  # noqa: S310 -- https
            with opener.open(asked, timeout=_API_SECONDS) as answer:
                return dict(json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            raise Refused(error.code, f"{method} {path}: {error.code} {_message(error)}") from None
        except (OSError, ValueError) as error:
            raise Refused(0, f"{method} {path}: {error}") from None


def _message(error: urllib.error.HTTPError) -> str:
    text = error.read(_MAX_MESSAGE).decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text


@dataclass(frozen=True)
class Verdict:
    """The result of a round: the severity, the worst finding in a few words, and what the annotation holds."""

    severity: Severity
    reason: str
    report: Mapping[str, Any]

    @property
    def faulty(self) -> bool:
        """True if the node has a fault: a check that could not judge is none, and a person looks into it."""
        return self.severity > Severity.ERROR

    @property
    def status(self) -> str:
        """The status of the condition."""
        if self.severity.usable:
            return "True"
        return "False" if self.faulty else "Unknown"

    @property
    def message(self) -> str:
        """The message of the condition."""
        if self.reason:
            return self.reason[:_MAX_MESSAGE]
        watched = len(self.report["findings"])
        return f"{watched} findings to watch" if watched else "no finding"


def verdict(report: Mapping[str, Any]) -> Verdict:
    """Return the verdict of a report's JSON."""
    findings = [
        finding
        for probe in report["probes"]
        for finding in probe["findings"]
        if finding["severity"] != Severity.OK.word
    ]
    findings.sort(key=lambda one: -severity_of(one["severity"]))
    kept = {key: report[key] for key in ("time", "suite", "instance_type", "severity", "reason")}
    return Verdict(
        severity_of(str(report["severity"])),
        str(report["reason"]),
        {**kept, "findings": findings[:_MAX_FINDINGS]},
    )


def _not_run(suite: str, said: str) -> Verdict:
    kept = {"time": round(time.time(), 3), "suite": suite, "instance_type": ""}
    reason = f"health error: the checks did not run on the node: {said}"
    severity = Severity.ERROR
    return Verdict(severity, reason, {**kept, "severity": severity.word, "reason": reason, "findings": []})


def share(folder: Path) -> None:
    """Copy this package to a folder that the node sees under the same path."""
    target = folder / "health"
    target.mkdir(parents=True, exist_ok=True)
    for source in sorted(Path(__file__).parent.iterdir()):
        if source.suffix in (".py", ".json"):
            (target / source.name).write_bytes(source.read_bytes())


def check_node(folder: Path, environment: Mapping[str, str], suite: str = _SUITE) -> Verdict:
    """Run the checks in the mounts of the node's first process, by the node's own Python and programs."""
    nsenter = programs.find("nsenter", environment)
    if nsenter is None:
        return _not_run(suite, "nsenter is not on PATH")
    # The images of EKS have EFA's driver alone: amazon-eks-ami runs 'efa_installer.sh --minimal'.
    checks = [
        "python3",
        "-m",
        "health",
        "--suite",
        suite,
        "--json",
        "--without-libfabric",
        "--require",
        "kernel-log",
    ]
    ran = programs.run(
        [nsenter, "--target", "1", "--mount", "--", *checks],
        SUITES[suite].seconds + _START_SECONDS,
        {"PATH": environment.get("PATH") or _PATH, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        return verdict(json.loads(ran.output))
    except (ValueError, KeyError, TypeError):
        return _not_run(suite, ran.end)


@dataclass(frozen=True)
class Agent:
    """The agent of a node; `sweep` is true for a round of a sweep."""

    server: Server
    node: str
    action: str
    sweep: bool = False

    @property
    def _condition(self) -> str:
        return SWEEP_CONDITION if self.sweep else CONDITION

    def write(self, found: Verdict) -> None:
        """Write a verdict to the Node, act on it, and record both; what the server refuses is recorded too."""
        record: dict[str, object] = {
            "node": self.node,
            **found.report,
            "action": "none",
            "result": "",
        }
        try:
            node = self.server.call("GET", self._path)
            if self._set_condition(node, found):
                self._event(node, self._condition, found.message, warns=not found.severity.usable)
            repair = _REPAIRS.get(found.severity) if self.action == "repair" else None
            if repair:
                record["action"] = f"label {REPAIR_LABEL}={repair}"
                record["result"] = self._repair(found, repair)
            elif self.action != "none" and found.faulty:
                record["action"] = f"taint {TAINT}={found.severity.word}:NoSchedule"
                record["result"] = self._taint(found)
        except Refused as refusal:
            record["result"] = str(refusal)
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()

    @property
    def _path(self) -> str:
        return f"/api/v1/nodes/{self.node}"

    def _set_condition(self, node: Mapping[str, Any], found: Verdict) -> bool:
        """Set the condition and the annotation; return whether the condition changed."""
        before: Mapping[str, Any] = next(
            (one for one in node.get("status", {}).get("conditions", ()) if one["type"] == self._condition),
            {},
        )
        now = _now()
        condition = {
            "type": self._condition,
            "status": found.status,
            "reason": found.severity.word.capitalize(),
            "message": found.message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        if before.get("status") == found.status:
            condition["lastTransitionTime"] = before["lastTransitionTime"]
        annotation = SWEEP_ANNOTATION if self.sweep else ANNOTATION
        body = {
            "metadata": {"annotations": {annotation: json.dumps(found.report)}},
            "status": {"conditions": [condition]},
        }
        self.server.call("PATCH", f"{self._path}/status", body, _STRATEGIC)
        return any(before.get(key) != condition[key] for key in ("status", "reason", "message"))

    def _taint(self, found: Verdict) -> str:
        """Add the taint; one that is there stays as it is, with the value of the first fault.

        The list is written as a whole, so the request names the version that was read.
        """
        for _ in range(_TRIES):
            node = self.server.call("GET", self._path)
            taints = node["spec"].get("taints", [])
            if any(one["key"] == TAINT for one in taints):
                return "nothing done: the node has the taint already"
            taint = {"key": TAINT, "value": found.severity.word, "effect": "NoSchedule"}
            version = node["metadata"]["resourceVersion"]
            body = {"metadata": {"resourceVersion": version}, "spec": {"taints": [*taints, taint]}}
            try:
                self.server.call("PATCH", self._path, body, _MERGE)
            except Refused as refusal:
                if refusal.code == _CONFLICT:
                    continue
                raise
            self._event(node, "NodeTainted", f"{TAINT}={found.severity.word}: {found.message}", warns=True)
            return "done"
        return "not done: others changed the node at the same time; the next round tries again"

    def _repair(self, found: Verdict, repair: str) -> str:
        """Set the label by which HyperPod repairs the node, unless HyperPod does something with it already."""
        node = self.server.call("GET", self._path)
        labels = node["metadata"].get("labels") or {}
        if labels.get(REPAIR_LABEL, "") not in _SCHEDULABLE:
            return f"nothing done: the node is {labels[REPAIR_LABEL]} already"
        version = node["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version, "labels": {REPAIR_LABEL: repair}}}
        try:
            self.server.call("PATCH", self._path, body, _MERGE)
        except Refused as refusal:
            if refusal.code == _CONFLICT:
                return "not done: others changed the node at the same time; the next round tries again"
            raise
        self._event(node, "NodeRepairAsked", f"{REPAIR_LABEL}={repair}: {found.message}", warns=True)
        return "done"

    def _event(self, node: Mapping[str, Any], reason: str, message: str, *, warns: bool) -> None:
        """Create an Event. One that is refused, as by a quota, keeps no taint away: the condition says the same."""
        now = _now()
        about = {"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": node["metadata"]["uid"]}
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{self.node}.", "namespace": EVENTS_NAMESPACE},
            "involvedObject": about,
            "type": "Warning" if warns else "Normal",
            "reason": reason,
            "message": message[:_MAX_MESSAGE],
            "source": {"component": COMPONENT, "host": self.node},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self.server.call("POST", f"/api/v1/namespaces/{EVENTS_NAMESPACE}/events", body)
        except Refused as refusal:
            sys.stderr.write(f"health agent: {refusal}\n")


def address(environment: Mapping[str, str]) -> str:
    """Return the API server's address, as a pod is told it."""
    host = environment.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    host = f"[{host}]" if ":" in host else host
    return f"https://{host}:{environment.get('KUBERNETES_SERVICE_PORT', '443')}"


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: UP017 -- Python 3.9


def main(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Check the node by interval; the kubelet ends it."""
    parser = argparse.ArgumentParser(
        prog="health.kubernetes_agent", description="check this Kubernetes node and write the result to it"
    )
    add = parser.add_argument
    add("--node", default=environment.get("NODE_NAME", ""), help="name of the Node; default: NODE_NAME")
    add("--action", choices=ACTIONS, default="none", help="on a node with a fault; default: none")
    add("--suite", choices=sorted(SUITES), default=_SUITE, help=f"default: {_SUITE}")
    add(
        "--interval",
        type=int,
        default=_INTERVAL_SECONDS,
        metavar="SECONDS",
        help="default: 300; 0: one round",
    )
    add("--shared", type=Path, default=Path(_SHARED), help="a folder with the same path here and on the node")
    add("--account", type=Path, default=Path(ACCOUNT), help="folder of the token, for tests")
    add("--root", type=Path, help="a folder in place of the node, for tests")
    given = parser.parse_args(words)
    if not given.node:
        parser.error("the node's name is missing: give --node, or set NODE_NAME")
    server = Server(address(environment), given.account)
    agent = Agent(server, given.node, given.action, sweep=given.suite != _SUITE)
    if given.root is None:
        share(given.shared)
    while True:
        started = time.monotonic()
        if given.root is None:
            agent.write(check_node(given.shared, environment, given.suite))
        else:
            options = level_of(given.suite, Options(), None)
            agent.write(
                verdict(examine(given.suite, options, root=given.root, environment=environment).to_json())
            )
        if given.interval <= 0:
            return 0
        time.sleep(max(1.0, started + given.interval - time.monotonic()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
