"""Pods of exporters: an account without a token, a policy that lets in one port, and a DaemonSet or Deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainforge.eks.pod_rights import NOBODY, UNPRIVILEGED, service_account

NAMESPACE = "trainforge-monitoring"
"""The namespace of exporters of nodes and devices."""

PORT_NAME = "metrics"
"""The name of the container's port, by which collectors find it."""

_REQUESTS = {"cpu": "20m", "memory": "48Mi"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedPort:
    """An exporter by its name and the port that it serves: the objects around its pods, which need no right."""

    name: str
    port: int

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the pod."""
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/part-of": "trainforge"}

    def around(self, namespace: str) -> list[dict[str, Any]]:
        """Return the account of the pod, which has no token, and the policy that lets in its port and nothing out."""
        placed = {"name": self.name, "namespace": namespace}
        return [
            service_account(self.name, namespace),
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": placed,
                "spec": {
                    "podSelector": {"matchLabels": self.labels},
                    "policyTypes": ["Ingress", "Egress"],
                    "ingress": [{"ports": [{"port": self.port, "protocol": "TCP"}]}],
                    "egress": [],
                },
            },
        ]

    def controller(
        self, kind: str, namespace: str, specification: Mapping[str, Any], pod: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the DaemonSet or Deployment of a pod; `specification` is what it has beside the pod."""
        account = {
            "serviceAccountName": self.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
        }
        return {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": self.name, "namespace": namespace, "labels": self.labels},
            "spec": {
                "selector": {"matchLabels": self.labels},
                **specification,
                "template": {"metadata": {"labels": self.labels}, "spec": {**account, **pod}},
            },
        }

    def container_port(self) -> dict[str, Any]:
        """Return the port as a container declares it."""
        return {"name": PORT_NAME, "containerPort": self.port, "protocol": "TCP"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterPod(ServedPort):
    """A pod that runs one of our exporters at its port with `arguments`, without privileges.

    It reads one `volume`, mounted at `folder`: read-only, whatever it is. `more` joins the pod's specification.
    """

    image: str
    arguments: Sequence[str]
    volume: Mapping[str, Any]
    folder: str
    memory_limit: str
    more: Mapping[str, Any]

    def controlled(self, kind: str, namespace: str, specification: Mapping[str, Any]) -> dict[str, Any]:
        """Return the DaemonSet or Deployment of the pod; `specification` is what it has beside the pod."""
        return self.controller(kind, namespace, specification, self._pod())

    def _pod(self) -> dict[str, Any]:
        return {
            **self.more,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": NOBODY,
                "runAsGroup": NOBODY,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": self.name,
                    "image": self.image,
                    "args": [*self.arguments, "--address=0.0.0.0", f"--port={self.port}"],
                    "ports": [self.container_port()],
                    "securityContext": dict(UNPRIVILEGED),
                    "resources": {"requests": _REQUESTS, "limits": {"memory": self.memory_limit}},
                    "livenessProbe": {"tcpSocket": {"port": PORT_NAME}, "periodSeconds": 30},
                    "volumeMounts": [
                        {"name": self.volume["name"], "mountPath": self.folder, "readOnly": True}
                    ],
                }
            ],
            "volumes": [dict(self.volume)],
        }
