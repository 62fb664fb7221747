"""The EFA exporter on Kubernetes: a pod without privileges on each node with EFA interfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog.instances import instance
from catalog.kubernetes import INSTANCE_TYPE_LABEL, device_tolerations
from catalog.pool import Pool
from catalog.ports import EFA_EXPORTER_PORT
from trainforge.eks.operator_objects import NOBODY

NAME = "efa-exporter"
NAMESPACE = "trainforge-monitoring"

_SYS = "/host/sys"
_PORT_NAME = "metrics"


def efa_exporter(pools: Sequence[Pool], *, image: str, type_prefix: str = "") -> list[dict[str, Any]]:
    """Return the objects of the exporter: its namespace, account, network policy and DaemonSet.

    `image` is the exporters' image. The pods run on the pools' instance types with EFA, whatever taint keeps others
    away. `type_prefix` goes before the types in the nodes' labels (`ml.` on HyperPod). The node's sysfs is mounted
    read-only: a container's own shows RDMA devices where all network namespaces share them, which is the kernel's
    default and need not be so. Collectors find the pods by their labels, and the port by its name `metrics`.

    Raises:
        UnknownInstanceTypeError: the catalog does not have a pool's instance type.
    """
    types = sorted(
        {f"{type_prefix}{pool.instance_type}" for pool in pools if instance(pool.instance_type).supports_efa}
    )
    if not types:
        return []
    labels = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "trainforge"}
    placed = {"name": NAME, "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
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
                "podSelector": {"matchLabels": labels},
                # It calls nobody.
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"ports": [{"port": EFA_EXPORTER_PORT, "protocol": "TCP"}]}],
                "egress": [],
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {**placed, "labels": labels},
            "spec": {
                "selector": {"matchLabels": labels},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
                "template": {"metadata": {"labels": labels}, "spec": _pod(types, image)},
            },
        },
    ]


def _pod(types: Sequence[str], image: str) -> dict[str, Any]:
    expression = {"key": INSTANCE_TYPE_LABEL, "operator": "In", "values": list(types)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
        "tolerations": device_tolerations(),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": NAME,
                "image": image,
                "args": ["efa", f"--sys={_SYS}", "--address=0.0.0.0", f"--port={EFA_EXPORTER_PORT}"],
                "ports": [{"name": _PORT_NAME, "containerPort": EFA_EXPORTER_PORT, "protocol": "TCP"}],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
                "resources": {
                    "requests": {"cpu": "20m", "memory": "48Mi"},
                    "limits": {"memory": "128Mi"},
                },
                "livenessProbe": {"tcpSocket": {"port": _PORT_NAME}, "periodSeconds": 30},
                "volumeMounts": [{"name": "sys", "mountPath": _SYS, "readOnly": True}],
            }
        ],
        "volumes": [{"name": "sys", "hostPath": {"path": "/sys", "type": "Directory"}}],
    }
