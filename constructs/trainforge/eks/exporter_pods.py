"""Pods of our exporters: one container of the exporters' image, without privileges, that serves one port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainforge.eks.operator_objects import NOBODY

PORT_NAME = "metrics"
"""The name of the container's port, by which collectors find it."""

_REQUESTS = {"cpu": "20m", "memory": "48Mi"}


@dataclass(frozen=True, slots=True)
class ExporterPod:
    """A pod that runs an exporter on `port` with `arguments`, and reads one `volume`, mounted at `folder`.

    The volume is mounted read-only, whatever it is. `more` joins the pod's specification.
    """

    name: str
    image: str
    arguments: Sequence[str]
    port: int
    volume: Mapping[str, Any]
    folder: str
    memory_limit: str
    more: Mapping[str, Any]

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the pod."""
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/part-of": "trainforge"}

    def around(self, namespace: str) -> list[dict[str, Any]]:
        """Return the account of the pod, which has no token, and the policy that lets in its port and nothing out."""
        placed = {"name": self.name, "namespace": namespace}
        return [
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": placed,
                "automountServiceAccountToken": False,
            },
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

    def controlled(self, kind: str, namespace: str, specification: Mapping[str, Any]) -> dict[str, Any]:
        """Return the DaemonSet or Deployment of the pod; `specification` is what it has beside the pod."""
        return {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": self.name, "namespace": namespace, "labels": self.labels},
            "spec": {
                "selector": {"matchLabels": self.labels},
                **specification,
                "template": {"metadata": {"labels": self.labels}, "spec": self._specification()},
            },
        }

    def _specification(self) -> dict[str, Any]:
        return {
            "serviceAccountName": self.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
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
                    "ports": [{"name": PORT_NAME, "containerPort": self.port, "protocol": "TCP"}],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                    "resources": {"requests": _REQUESTS, "limits": {"memory": self.memory_limit}},
                    "livenessProbe": {"tcpSocket": {"port": PORT_NAME}, "periodSeconds": 30},
                    "volumeMounts": [
                        {"name": self.volume["name"], "mountPath": self.folder, "readOnly": True}
                    ],
                }
            ],
            "volumes": [dict(self.volume)],
        }
