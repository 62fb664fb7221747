"""KubeRay's operator: RayJobs, and the clusters that it makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from catalog.versions import KUBERAY
from trainforge.eks.operator_objects import custom_resource_definition, operator
from trainforge.eks.pod_rights import rule
from trainforge.eks.pod_template import pod_template

NAME = "kuberay-operator"
NAMESPACE = "kuberay"

GROUP = "ray.io"

_ALL = "create delete get list patch update watch"
_KINDS = ("rayclusters", "rayjobs", "rayservices")


def kuberay_operator() -> list[dict[str, Any]]:
    """Return the operator's objects: the definitions of its kinds, and the operator.

    Defaults and columns are those of its own definitions (kuberay 1.5, config/crd/bases). The operator watches
    RayServices too, and does not start without their definition. Rights are those of its own role
    (config/rbac/role.yaml) without what other modes make: submitters, ingresses, gateways and routes, the accounts and
    roles of autoscalers. It asks a head by the pod's network, and not through the API server.
    """
    return [*_definitions(), *_operator()]


def _integer(default: int) -> dict[str, Any]:
    return {"type": "integer", "format": "int32", "default": default}


def _cluster() -> dict[str, Any]:
    """Return the schema of a cluster: its groups, with what pods and numbers are by default."""
    return {
        "type": "object",
        "required": ["headGroupSpec"],
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            "headGroupSpec": {
                "type": "object",
                "required": ["template"],
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {"template": pod_template()},
            },
            "workerGroupSpecs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["groupName", "maxReplicas", "minReplicas", "template"],
                    "x-kubernetes-preserve-unknown-fields": True,
                    "properties": {
                        "groupName": {"type": "string"},
                        "maxReplicas": _integer(2**31 - 1),
                        "minReplicas": _integer(0),
                        "numOfHosts": _integer(1),
                        "replicas": _integer(0),
                        "template": pod_template(),
                    },
                },
            },
        },
    }


_JOB_FIELDS: Final[dict[str, Any]] = {
    "backoffLimit": _integer(0),
    "entrypoint": {"type": "string"},
    "shutdownAfterJobFinishes": {"type": "boolean"},
    "submissionMode": {"type": "string", "default": "K8sJobMode"},
    "suspend": {"type": "boolean"},
    "ttlSecondsAfterFinished": _integer(0),
}


def _definitions() -> list[dict[str, Any]]:
    job = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            **_JOB_FIELDS,
            "rayClusterSpec": _cluster(),
            "submitterPodTemplate": pod_template(),
        },
    }
    service = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return [
        _definition("RayCluster", _cluster(), {"State": ".status.state"}),
        _definition("RayJob", job, {"Job": ".status.jobStatus", "Deployment": ".status.jobDeploymentStatus"}),
        _definition("RayService", service, {"State": ".status.serviceStatus"}),
    ]


def _definition(kind: str, spec: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    return custom_resource_definition(
        f"{kind.lower()}s", kind, "v1", spec, subresources={}, group=GROUP, columns=columns
    )


def _operator() -> list[dict[str, Any]]:
    def probe(path: str) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": "health"}, "periodSeconds": 10}

    container = {
        "image": str(KUBERAY),
        "command": ["/manager"],
        # Leases are kept in the operator's namespace; one pod needs none.
        "args": ["--enable-leader-election=false", "--enable-metrics=true"],
        "ports": [{"name": "metrics", "containerPort": 8080}, {"name": "health", "containerPort": 8082}],
        "livenessProbe": {**probe("/healthz"), "initialDelaySeconds": 10},
        "readinessProbe": probe("/readyz"),
    }
    rules = [
        rule(GROUP, _KINDS, _ALL),
        rule(GROUP, [f"{kind}/status" for kind in _KINDS], "get patch update"),
        rule(GROUP, [f"{kind}/finalizers" for kind in _KINDS], "update"),
        rule("", ["pods"], f"{_ALL} deletecollection"),
        rule("", ["pods/status", "services"], _ALL),
        rule("", ["services/status"], "get patch update"),
        rule("", ["endpoints"], "get list watch"),
        rule("", ["events"], "create patch"),
        # It looks for those of submitters and of autoscalers, and makes none of them for jobs of ours.
        rule("", ["serviceaccounts"], "get list watch"),
        rule("batch", ["jobs"], "get list watch"),
        rule("rbac.authorization.k8s.io", ["rolebindings", "roles"], "get list watch"),
        rule("networking.k8s.io", ["ingresses", "ingressclasses"], "get list watch"),
    ]
    return operator(NAME, NAMESPACE, rules=rules, container=container)
