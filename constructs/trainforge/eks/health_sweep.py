"""The sweep of an EKS cluster's idle nodes: a CronJob that starts a Job per node, behind every other pod."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from catalog.health_sweep import HEALTH_NAMESPACE, HEALTH_SWEEP, HealthSweep
from catalog.instance_facts import Architecture
from catalog.instances import instance
from catalog.kubernetes import device
from trainforge.eks.pod_rights import NOBODY, UNPRIVILEGED, admission_policy, granted, rule, service_account

_JOBS = "/etc/trainforge-health"
_PRIORITY = -1_000_000
"""The priority of the pods that check: our choice, below the 0 of pods without a class."""

_START_SECONDS = 90
_MARGIN_SECONDS = 600
_SECONDS = {"standard": 1500, "deep": 12000}
"""Seconds that a suite may take (workloads/runtime/health/suites.py; a test compares)."""

_RUNS_MORE = (
    "lifecycle",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "envFrom",
    "workingDir",
    "volumeDevices",
)
"""Fields of a container that run a program of their own, or decide where the agent's code comes from."""

_KEEP_SECONDS = 24 * 3600
_NEVER = "0 0 1 1 *"
"""The schedule of a CronJob that is suspended: it must have one."""

_GO_NAMES = {"x86_64": "amd64", "arm64": "arm64"}
_LABELS = {"app.kubernetes.io/name": HEALTH_SWEEP, "app.kubernetes.io/part-of": "trainforge"}
_ACCOUNT = (HEALTH_SWEEP, HEALTH_NAMESPACE)
_CLUSTER_NAME = f"trainforge-{HEALTH_SWEEP}"
"""The name of the objects that belong to the whole cluster, and of the role."""


def health_sweep(
    sweep: HealthSweep,
    types: Mapping[Architecture, Sequence[str]],
    *,
    pods: Mapping[Architecture, Mapping[str, Any]],
    images: Mapping[Architecture, str],
    runs_on: Architecture,
    prefix: str = "",
) -> list[dict[str, Any]]:
    """Return the objects of the sweep.

    `types` has the accelerated instance types by architecture, `pods` the agent's pod for one round on a node of each,
    `images` the image of each and of `runs_on`, the architecture of the nodes that the sweep's own pod runs on.
    `prefix` is what a node's label has before its type.

    The account that starts Jobs may start the agent's alone: an admission policy compares whatever decides what runs in
    its pod, which is privileged.
    """
    jobs = {
        "namespace": HEALTH_NAMESPACE,
        "types": {f"{prefix}{name}": device(instance(name)) for names in types.values() for name in names},
        "jobs": {_GO_NAMES[one]: _node_job(pods[one]) for one in types},
    }
    configuration = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": HEALTH_SWEEP, "namespace": HEALTH_NAMESPACE, "labels": _LABELS},
        "data": {"jobs.json": json.dumps(jobs, indent=1, sort_keys=True)},
    }
    return [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": _CLUSTER_NAME, "labels": _LABELS},
            "value": _PRIORITY,
            "preemptionPolicy": "Never",
            "description": "health checks of idle nodes; every other pod goes before them",
        },
        service_account(*_ACCOUNT),
        *granted(_CLUSTER_NAME, [rule("", ["nodes"], "list")], account=_ACCOUNT),
        *granted(
            _CLUSTER_NAME,
            [rule("batch", ["jobs"], "create delete list")],
            account=_ACCOUNT,
            within=HEALTH_NAMESPACE,
        ),
        *_policy([pods[one] for one in types]),
        configuration,
        _cron_job(sweep, images[runs_on], _GO_NAMES[runs_on]),
    ]


def _node_job(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Job of a node; the sweep adds the node, its accelerators and the suite."""
    disrupted = {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": f"{HEALTH_SWEEP}-", "namespace": HEALTH_NAMESPACE, "labels": _LABELS},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": max(_SECONDS.values()) + _MARGIN_SECONDS,
            "ttlSecondsAfterFinished": _KEEP_SECONDS,
            "podFailurePolicy": {"rules": [disrupted]},
            "template": {
                "metadata": {"labels": _LABELS},
                "spec": {
                    **pod,
                    "restartPolicy": "Never",
                    "priorityClassName": _CLUSTER_NAME,
                    # A pod that needs the node waits for this one to go.
                    "terminationGracePeriodSeconds": 5,
                },
            },
        },
    }


def _policy(pods: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the admission policy of the Jobs that the sweep starts, and its binding.

    `pods` are the agent's, which differ in the image alone.
    """
    pod, container = "object.spec.template.spec", "object.spec.template.spec.containers[0]"
    [agent] = pods[0]["containers"]
    images = json.dumps(sorted({str(one["containers"][0]["image"]) for one in pods}))
    arguments = json.dumps(list(agent["args"]))
    suites = json.dumps([f"--suite={name}" for name in _SECONDS])
    none = " && ".join(f"!has({container}.{field})" for field in _RUNS_MORE)
    variables = json.dumps([one["name"] for one in agent["env"]])
    places = json.dumps([f"{one['name']} {one['mountPath']}" for one in agent["volumeMounts"]])
    folders = json.dumps([one["hostPath"]["path"] for one in pods[0]["volumes"] if "hostPath" in one])
    validations = {
        "the sweep starts the health agent alone": (
            f"size({pod}.containers) == 1 && !has({pod}.initContainers) && {container}.image in {images} && "
            f"!has({container}.command) && size({container}.args) == {len(agent['args']) + 1} && "
            f"{container}.args.all(one, one in {arguments} || one in {suites})"
        ),
        "the sweep starts nothing beside the agent's program": (
            f"{none} && {container}.env.all(one, one.name in {variables} && has(one.valueFrom))"
        ),
        "the sweep gives the agent its own folders alone": (
            f"{container}.volumeMounts.all(one, one.name + ' ' + one.mountPath in {places}) && "
            f"{pod}.volumes.all(one, has(one.emptyDir) || (has(one.hostPath) && one.hostPath.path in {folders}))"
        ),
        "the sweep starts pods of the health agent's account": (
            f"{pod}.serviceAccountName == '{pods[0]['serviceAccountName']}'"
        ),
        "the sweep's pods are behind every other": f"{pod}.priorityClassName == '{_CLUSTER_NAME}'",
    }
    return admission_policy(
        _CLUSTER_NAME,
        account=_ACCOUNT,
        group="batch",
        resources=["jobs"],
        operation="CREATE",
        validations=validations,
    )


def _cron_job(sweep: HealthSweep, image: str, architecture: str) -> dict[str, Any]:
    container = {
        "name": HEALTH_SWEEP,
        "image": image,
        "command": ["python3", "-m", "health.kubernetes_sweep"],
        "args": [
            f"--jobs={_JOBS}/jobs.json",
            f"--suite={sweep.suite}",
            f"--start-seconds={_START_SECONDS}",
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            **UNPRIVILEGED,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": "jobs", "mountPath": _JOBS, "readOnly": True}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": HEALTH_SWEEP, "namespace": HEALTH_NAMESPACE, "labels": _LABELS},
        "spec": {
            "schedule": sweep.schedule or _NEVER,
            "timeZone": "Etc/UTC",
            "suspend": not sweep.schedule,
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {
                "metadata": {"labels": _LABELS},
                "spec": {
                    "backoffLimit": 0,
                    "activeDeadlineSeconds": max(_SECONDS.values()) + 2 * _MARGIN_SECONDS,
                    "ttlSecondsAfterFinished": _KEEP_SECONDS,
                    "template": {
                        "metadata": {"labels": _LABELS},
                        "spec": {
                            "serviceAccountName": HEALTH_SWEEP,
                            "automountServiceAccountToken": True,
                            "enableServiceLinks": False,
                            "restartPolicy": "Never",
                            "nodeSelector": {"kubernetes.io/arch": architecture},
                            "containers": [container],
                            "volumes": [{"name": "jobs", "configMap": {"name": HEALTH_SWEEP}}],
                        },
                    },
                },
            },
        },
    }
