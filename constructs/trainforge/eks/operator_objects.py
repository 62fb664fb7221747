"""Custom resource definitions and deployments of job operators that no chart installs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from trainforge.eks.pod_rights import NOBODY, UNPRIVILEGED, granted
from trainforge.eks.pod_template import pod_template

GROUP = "kubeflow.org"

_MEMORY_LIMIT = "1Gi"
"""Our choice. An operator holds all pods of the cluster in memory; there is no limit on processors, which would only
delay jobs."""


_STATE: Mapping[str, str] = MappingProxyType({"State": ".status.conditions[-1:].type"})


def custom_resource_definition(
    plural: str,
    kind: str,
    version: str,
    spec: Mapping[str, Any],
    *,
    subresources: Mapping[str, Any],
    group: str = GROUP,
    columns: Mapping[str, str] = _STATE,
) -> dict[str, Any]:
    """Return the custom resource definition of a job: types of its spec's own fields, and only defaults of its pods.

    The operators' own definitions repeat all of a pod's schema, which is a megabyte of text that no custom resource
    carries; what a pod may be is checked when the operator makes it. Fields that are not listed are kept. `columns` are
    paths in an object that `kubectl get` shows beside its age.
    """
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}, **subresources},
                    "additionalPrinterColumns": [
                        *(
                            {"name": name, "type": "string", "jsonPath": path}
                            for name, path in columns.items()
                        ),
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": dict(spec),
                                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            },
                        }
                    },
                }
            ],
        },
    }


def replicas(names: Sequence[str]) -> dict[str, Any]:
    """Return the schema of a job's replicas by their kind's name: at least one kind, and no other."""
    replica = {
        "type": "object",
        "required": ["template"],
        "properties": {
            "replicas": {"type": "integer", "format": "int32", "minimum": 0},
            "restartPolicy": {"type": "string"},
            "template": pod_template(),
        },
    }
    return {"type": "object", "minProperties": 1, "properties": dict.fromkeys(names, replica)}


RUN_POLICY: dict[str, Any] = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {
        "activeDeadlineSeconds": {"type": "integer", "format": "int64"},
        "backoffLimit": {"type": "integer", "format": "int32"},
        "cleanPodPolicy": {"type": "string"},
        "suspend": {"type": "boolean", "default": False},
        "ttlSecondsAfterFinished": {"type": "integer", "format": "int32"},
    },
}
"""The schema of a run policy, which both operators take; Kueue holds a job back by `suspend`."""


def operator(
    name: str,
    namespace: str,
    *,
    rules: Sequence[Mapping[str, Any]],
    container: Mapping[str, Any],
    volumes: Sequence[Mapping[str, Any]] = (),
    open_ports: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """Return what an operator runs as: its namespace, account, rights on the cluster and one pod.

    One pod: an operator that is away for a minute delays jobs and ends none. It runs as a user that is nobody: the
    images name none, which would be root, and their programs are everybody's to execute (distroless bases). It writes
    no file. Connections come in at `open_ports` only, from anywhere: the API server is no pod that could be named. The
    kubelet's probes come from the node itself, which no policy keeps out.
    """
    labels = {"app.kubernetes.io/name": name}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}},
        *granted(name, rules, account=(name, namespace)),
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "podSelector": {"matchLabels": labels},
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": [{"port": port, "protocol": "TCP"} for port in open_ports]}]
                if open_ports
                else [],
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "serviceAccountName": name,
                        "securityContext": {
                            "runAsNonRoot": True,
                            "runAsUser": NOBODY,
                            "runAsGroup": NOBODY,
                        },
                        "containers": [
                            {
                                "name": name,
                                "securityContext": {
                                    **UNPRIVILEGED,
                                    "seccompProfile": {"type": "RuntimeDefault"},
                                },
                                "resources": {
                                    "requests": {"cpu": "100m", "memory": "256Mi"},
                                    "limits": {"memory": _MEMORY_LIMIT},
                                },
                                **container,
                            }
                        ],
                        "volumes": [dict(volume) for volume in volumes],
                    },
                },
            },
        },
    ]
