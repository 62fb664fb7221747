"""The function that installs charts, as a test of a real control plane sends it events and looks at its release."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from programs.functions.helm import index
from tests.helm_handler import Context, event
from tests.kubernetes.plane.api import Api, Document

RBAC = "rbac.authorization.k8s.io/v1"
CRD = "apiextensions.k8s.io/v1"
AGGREGATION = "clusterrole-aggregation-controller"
TASKS, HELDS = "tasks.test.trainforge.dev", "helds.test.trainforge.dev"


@dataclass
class Function:
    """The function, and a release of the test's chart."""

    api: Api
    namespace: str
    name: str
    helm: str
    pid_file: Path
    told: list[dict[str, Any]]
    source: dict[str, Any]
    resource: str = "Chart"

    def send(self, request: str, *, seconds: float = 600, **values: Any) -> tuple[str, str]:
        """Send an event with values of the chart; return what CloudFormation receives: status and reason."""
        sent = event(
            request,
            **{
                **self.source,
                "Release": self.name,
                "Namespace": self.namespace,
                "Values": json.dumps(values),
            },
        )
        index.handler({**sent, "LogicalResourceId": self.resource}, Context(seconds))
        answer = self.told.pop()
        assert answer["PhysicalResourceId"] == f"hp/{self.namespace}/{self.name}"
        return answer["Status"], answer["Reason"]

    def succeeds(self, request: str, **values: Any) -> None:
        """Send an event that must succeed."""
        assert self.send(request, **values) == ("SUCCESS", "")

    def killed(self, request: str, status: str, hook: str, **values: Any) -> None:
        """Send an event and kill helm in it, when the release has this status and the Job of a hook exists."""
        answers: list[tuple[str, str]] = []
        thread = threading.Thread(
            target=lambda: answers.append(self.send(request, hangs=hook, **values)), daemon=True
        )
        thread.start()
        job = f"{self.name}-{hook}"
        self.api.await_(
            f"{status} in the hook {hook}",
            lambda: (
                self.statuses()[-1:] == [status]
                and self.api.find("batch/v1", "Job", job, namespace=self.namespace)
            ),
        )
        os.kill(int(self.pid_file.read_text(encoding="utf-8")), signal.SIGKILL)
        thread.join(60)
        ((told, reason),) = answers
        assert told == "FAILED"
        assert "signal 9" in reason
        assert self.statuses()[-1] == status, "nothing has ended it yet"

    def records(self) -> list[Document]:
        """Return helm's records of the release, the oldest first."""
        found = self.api.list(
            "v1", "Secret", namespace=self.namespace, labelSelector=f"owner=helm,name={self.name}"
        )
        return sorted(found, key=lambda one: int(one["metadata"]["labels"]["version"]))

    def statuses(self) -> list[str]:
        """Return the status of each revision, the oldest first."""
        return [one["metadata"]["labels"]["status"] for one in self.records()]

    def find(self, version: str, kind: str, name: str) -> Document | None:
        """Return an object of the chart by the end of its name."""
        return self.api.find(version, kind, f"{self.name}-{name}", namespace=self.namespace)

    def text(self) -> str:
        """Return the text that the chart's values put into a ConfigMap."""
        found = self.find("v1", "ConfigMap", "content")
        assert found
        return str(found["data"]["text"])

    def rules(self, role: str) -> list[Document]:
        """Return the rules of a ClusterRole of the chart."""
        found = self.find(RBAC, "ClusterRole", role)
        return list((found or {}).get("rules") or [])

    def await_aggregated(self) -> None:
        """Wait until both aggregated roles have the rules of all four others."""
        for role in ("admin", "user"):
            self.api.await_(f"rules of {role}", lambda role=role: len(self.rules(role)) == 4)

    def left(self) -> list[str]:
        """Return the objects of the chart that exist, but for those of hooks, which helm does not count as its own."""
        kinds = [
            *(("v1", kind) for kind in ("ConfigMap", "Secret", "Service", "ServiceAccount")),
            ("apps/v1", "Deployment"),
            ("batch/v1", "Job"),
            (RBAC, "ClusterRole"),
            ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
        ]
        found = [
            f"{kind} {one['metadata']['name']}"
            for version, kind in kinds
            for one in self.api.list(version, kind)
            if one["metadata"]["name"].startswith(self.name)
            and "helm.sh/hook" not in one["metadata"].get("annotations", {})
        ]
        return found + (["tasks"] if self.api.find(CRD, "CustomResourceDefinition", TASKS) else [])

    def remake_role(self, role: str) -> None:
        """Do what the controller does to an aggregated role that is deleted before the roles it collects."""
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
        document = {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": f"{self.name}-{role}"}}
        self.api.apply({**document, "rules": rules}, manager=AGGREGATION)
