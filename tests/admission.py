"""The rules by which operators refuse a job beyond its schema: a manifest that breaks one never starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.unit.rendering import pods
from trainforge.eks.runtimes import torch_runtimes

_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")
_LABEL_LENGTH = 63
_RAYJOB_LENGTH = 47

# trainer 2.3, constants.go: TorchRunReservedEnvNames.
_TORCHRUN_VARIABLES = {
    "PET_NNODES",
    "PET_NPROC_PER_NODE",
    "PET_NODE_RANK",
    "PET_MASTER_ADDR",
    "PET_MASTER_PORT",
}


def refusals(document: dict[str, Any]) -> list[str]:
    """Return why the job's operator would refuse it; empty where it takes it."""
    return [*_name(document, document["metadata"]["name"]), *_RULES[document["kind"]](document)]


def _name(document: dict[str, Any], name: str) -> Iterator[str]:
    """Each operator makes services of the name: RFC 1035 (trainjob_types.go, pytorchjob_webhook.go)."""
    if not _LABEL_1035.fullmatch(name) or len(name) > _LABEL_LENGTH:
        yield f"{document['kind']} '{name}': not a DNS label"


def _trainjob(document: dict[str, Any]) -> Iterator[str]:
    """Webhook of Trainer 2.3: plugins jobset (jobset.go, Validate) and torch (torch.go, Validate).

    Stricter in one: Trainer also admits patches of jobs and containers that the runtime lacks.
    """
    (job,) = torch_runtimes()[0]["spec"]["template"]["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]["spec"]
    runtime = {job["name"]: {one["name"] for one in pod["containers"]}}
    for patch in document["spec"].get("runtimePatches", []):
        domain, _, path = patch["manager"].partition("/")
        if not _SUBDOMAIN.fullmatch(domain) or not _PATH.fullmatch(path):
            yield f"manager '{patch['manager']}': must be a domain-prefixed path"
        for patched in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]:
            if patched["name"] not in runtime:
                yield f"replicated job '{patched['name']}' is not in the runtime"
                continue
            for one in patched["template"]["spec"]["template"]["spec"].get("containers", []):
                if one["name"] not in runtime[patched["name"]]:
                    yield f"container '{one['name']}' is not in the runtime"
                elif one.get("env"):
                    yield f"container '{one['name']}': variables belong to 'trainer'"
    for variable in document["spec"]["trainer"].get("env", []):
        if variable["name"] in _TORCHRUN_VARIABLES:
            yield f"variable '{variable['name']}' is Trainer's"


def _pytorchjob(document: dict[str, Any]) -> Iterator[str]:
    """Webhook of the training operator 1.9 (pytorchjob_webhook.go)."""
    replicas = document["spec"].get("pytorchReplicaSpecs") or {}
    if not replicas:
        yield "no replicas"
    for kind, one in replicas.items():
        if kind not in {"Master", "Worker"}:
            yield f"replicas '{kind}': not supported"
        if kind == "Master" and one.get("replicas") != 1:
            yield "master: must be 1"
        if kind == "Worker" and one.get("replicas", 1) < 1:
            yield "worker: must be at least 1"
        containers = one["template"]["spec"]["containers"]
        if any(not container.get("image") for container in containers):
            yield f"{kind}: a container has no image"
        if "pytorch" not in {container["name"] for container in containers}:
            yield f"{kind}: no container is named 'pytorch'"


def _mpijob(document: dict[str, Any]) -> Iterator[str]:
    """Validation of the MPI operator 0.8 (validation.go), which ends a job that fails it."""
    spec = document["spec"]
    replicas = spec["mpiReplicaSpecs"]
    workers = replicas.get("Worker", {}).get("replicas", 1)
    yield from _name(document, f"{document['metadata']['name']}-worker-{max(workers, 1) - 1}")
    if spec.get("slotsPerWorker", -1) < 0:
        yield "slotsPerWorker is required"
    if spec["runPolicy"].get("cleanPodPolicy") not in {"None", "Running", "All"}:
        yield "cleanPodPolicy is required"
    if not spec.get("sshAuthMountPath"):
        yield "sshAuthMountPath is required"
    if spec.get("mpiImplementation") not in {"OpenMPI", "Intel", "MPICH"}:
        yield "mpiImplementation is not supported"
    if replicas.get("Launcher", {}).get("replicas") != 1:
        yield "launcher: must be 1"
    if workers < 1:
        yield "worker: must be at least 1"
    for kind, one in replicas.items():
        if one.get("restartPolicy") not in {"Never", "OnFailure"}:
            yield f"{kind}: restartPolicy is not supported"


def _jobset(document: dict[str, Any]) -> Iterator[str]:
    """Webhook of JobSet 0.12 (jobset_webhook.go), and Kubernetes' own of a Job with a policy for failed pods."""
    name, seen = document["metadata"]["name"], []
    for index, one in enumerate(document["spec"]["replicatedJobs"]):
        job = one["template"]["spec"]
        last = f"{name}-{one['name']}-{one['replicas'] - 1}-{job['completions'] - 1}-abcde"
        yield from _name(document, last)
        if index == 0 and "dependsOn" in one:
            yield "the first replicated job depends on another"
        for needed in one.get("dependsOn", []):
            if needed["name"] not in seen:
                yield f"'{one['name']}' cannot depend on '{needed['name']}'"
        seen.append(one["name"])
        if job["template"]["spec"].get("restartPolicy") != "Never":
            yield f"'{one['name']}': a policy for failed pods needs restartPolicy Never"
        for rule in job["podFailurePolicy"]["rules"]:
            values = rule["onExitCodes"]["values"]
            if values != sorted(set(values)) or 0 in values:
                yield f"'{one['name']}': {values} are not in order"
    for rule in document["spec"]["failurePolicy"]["rules"]:
        if not set(rule.get("targetReplicatedJobs", [])) <= set(seen):
            yield f"rule '{rule['name']}' is for a job that is not there"


def _rayjob(document: dict[str, Any]) -> Iterator[str]:
    """Validation of KubeRay 1.5 (validation.go), and Kueue's webhook (rayjob_webhook.go of 0.19)."""
    spec, name = document["spec"], document["metadata"]["name"]
    if len(name) > _RAYJOB_LENGTH:
        yield f"'{name}' has over {_RAYJOB_LENGTH} characters"
    if not spec.get("shutdownAfterJobFinishes"):
        yield "a job of a queue should delete its cluster"
    if spec.get("ttlSecondsAfterFinished", 0) < 0 or spec.get("backoffLimit", 0) < 0:
        yield "a number is negative"
    groups = [spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"]]
    for group in groups:
        if not group["template"]["spec"]["containers"]:
            yield "a group has no container"
        if any(not isinstance(value, str) for value in group["rayStartParams"].values()):
            yield "a parameter of 'ray start' is no text"


_RULES: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
    "TrainJob": _trainjob,
    "PyTorchJob": _pytorchjob,
    "MPIJob": _mpijob,
    "JobSet": _jobset,
    "RayJob": _rayjob,
}
"""By kind; HyperPodPyTorchJob is missing, because its operator's rules are not public."""


def ports_without_protocol(document: dict[str, Any]) -> list[str]:
    """Return the ports of a job that leave their protocol to a default, by name."""
    return [
        port["name"]
        for _, template in pods(document)
        for container in template["spec"]["containers"]
        for port in container.get("ports", [])
        if "protocol" not in port
    ]
