"""The pod of a node of a run, as every Kubernetes operator takes it: one container that has the whole node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog.batch import shared_memory_mib
from catalog.cluster_info import ClusterInfo
from catalog.kubernetes import (
    EFA,
    HUGE_PAGES,
    SAFE_TO_DELETE,
    device,
    huge_pages_mib,
    pod_memory_mib,
    pod_millicores,
)
from workloads.containers import Container
from workloads.entry import environment
from workloads.grace import grace_seconds
from workloads.render.container_variables import variables_of
from workloads.render.manifest import NODE_NAME, RUN_ID, labels, verbatim
from workloads.render.placement import placement
from workloads.render.topology import topology
from workloads.restarts import MAX_RESTARTS
from workloads.secret import Secret
from workloads.spec import Run

KEPT_SECONDS = 7 * 24 * 3600
"""Seconds that a job stays after its end where its operator deletes it: our choice, a week."""

_SHARED_MEMORY = "shared-memory"
_SHARED_FOLDER = "shared-folder"


def template(run: Run, info: ClusterInfo, container_: dict[str, Any], *, pod_sets: int = 1) -> dict[str, Any]:
    """Return the pod template of a node around its container, one of the `pod_sets` of its job.

    Nothing ends a pod on a lost node, because its kubelet would have to. Kueue deletes it by force if an annotation
    allows that, which is safe for a run: its state is in the shared file system.
    """
    annotations = {SAFE_TO_DELETE: "true", **topology(run, info, pod_sets=pod_sets)}
    return {
        "metadata": {"labels": labels(run, info), "annotations": annotations},
        "spec": {
            # A run needs no access to Kubernetes itself; AWS credentials come by another token.
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": grace_seconds(run, info),
            **placement(run, info),
            **({"initContainers": _init_containers(run, info)} if run.workload.containers else {}),
            "containers": [container_],
            "volumes": volumes(run, info),
        },
    }


def container(
    run: Run,
    info: ClusterInfo,
    name: str,
    script: str,
    *,
    job_label: str,
    ports: Sequence[dict[str, Any]] = (),
    serves_ssh: bool = False,
) -> dict[str, Any]:
    """Return the container of a node: `script` under bash, with the devices of the whole node.

    `job_label` is the label of the pod that holds the job's name. `serves_ssh` keeps the capabilities that
    sshd needs to take a login.

    Raises:
        ValueError: the cluster info has no image of the workload.
    """
    return {
        "name": name,
        "image": image(run, info),
        "command": ["/bin/bash", "-c", verbatim(script)],
        "env": variables(run, info, job_label),
        **({"ports": list(ports)} if ports else {}),
        "resources": resources(run),
        "volumeMounts": mounts(info),
        "securityContext": security(run, serves_ssh=serves_ssh),
    }


def _init_containers(run: Run, info: ClusterInfo) -> list[dict[str, Any]]:
    """Return the workload's containers, in their order: those beside the program too.

    An init container whose restart policy is Always is a sidecar: what is after it starts when it has started, and it
    ends with the pod's containers, so that the job completes (Kubernetes documentation, "Sidecar Containers").
    """
    return [_init_container(each, run, info) for each in run.workload.containers]


def _init_container(each: Container, run: Run, info: ClusterInfo) -> dict[str, Any]:
    known = {secret.name: secret for secret in run.workload.secrets}
    assigned = variables_of(each, run, info.shared_folder)
    return {
        "name": each.name,
        "image": each.image or image(run, info),
        **({"restartPolicy": "Always"} if each.when == "beside" else {}),
        "command": [verbatim(word) for word in each.command],
        "env": [
            *({"name": name, "value": verbatim(value)} for name, value in assigned.items()),
            *(_secret(known[name], info) for name in each.secrets),
        ],
        "resources": {"requests": {"cpu": str(each.vcpus), "memory": f"{each.memory_mib}Mi"}},
        "volumeMounts": [_shared_mount(info)],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def port(name: str, number: int) -> dict[str, Any]:
    """Return a port of a container.

    The protocol is written out although Kubernetes has it as the default: a definition that keeps pod templates as
    unknown fields sets no default, Kueue's copy of the template gets one, and Kueue recreates its copy again and again.
    """
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def image(run: Run, info: ClusterInfo) -> str:
    """Return the image of the workload.

    Raises:
        ValueError: the cluster info has none; on Kubernetes nothing runs without.
    """
    try:
        return info.images[run.image_name]
    except KeyError:
        raise ValueError(
            f"cluster info of '{info.cluster}' has no image of '{run.image_name}' (it has "
            f"{', '.join(sorted(info.images)) or 'none'}); name the workload under 'workloads' in the configuration "
            "and deploy the cluster stack again"
        ) from None


def resources(run: Run) -> dict[str, dict[str, str]]:
    """Return what the program's container asks for: all accelerators and EFA interfaces, and nearly all of the machine.

    What containers beside it ask for is the pod's too; what runs before it needs no more than is free then.

    Devices are equal in requests and limits, as Kubernetes wants them. There is no limit on processors or
    memory: the node is the run's own, and a limit would only throttle it.
    """
    facts = run.facts
    beside = [each for each in run.workload.containers if each.when == "beside"]
    devices: dict[str, str] = {}
    if run.accelerators_per_node:
        devices[device(run.facts)] = str(run.accelerators_per_node)
    if run.efa_per_node:
        devices[EFA] = str(run.efa_per_node)
        if environment(run).get("FI_EFA_USE_HUGE_PAGE") != "0":
            devices[HUGE_PAGES] = f"{huge_pages_mib(facts, run.vcpus)}Mi"
    host = {
        "cpu": f"{pod_millicores(run.vcpus) - 1000 * sum(each.vcpus for each in beside)}m",
        "memory": f"{pod_memory_mib(facts, run.vcpus) - sum(each.memory_mib for each in beside)}Mi",
    }
    return {"requests": {**host, **devices}, **({"limits": devices} if devices else {})}


def variables(run: Run, info: ClusterInfo, job_label: str) -> list[dict[str, Any]]:
    """Return the container's own variables: the run's id, or the job's name by the pod's label, its node, and secrets.

    Secrets are there by reference only.
    """
    job = {"valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{job_label}']"}}}
    return [
        {"name": RUN_ID, **({"value": run.id} if run.id else job)},
        {"name": NODE_NAME, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        # A line that waits in a buffer is a run that looks hung.
        {"name": "PYTHONUNBUFFERED", "value": "1"},
        *(_secret(secret, info) for secret in run.workload.secrets),
    ]


def _secret(secret: Secret, info: ClusterInfo) -> dict[str, Any]:
    """Return the variable of a secret, by reference."""
    reference = {
        "name": info.secrets.get(secret.name, secret.name),
        "key": secret.variable,
        **({} if secret.required else {"optional": True}),
    }
    return {"name": secret.variable, "valueFrom": {"secretKeyRef": reference}}


def mounts(info: ClusterInfo) -> list[dict[str, Any]]:
    """Return where the container sees the pod's volumes."""
    return [
        {"name": _SHARED_MEMORY, "mountPath": "/dev/shm"},  # noqa: S108 - POSIX shared memory, no temporary file
        _shared_mount(info),
    ]


def _shared_mount(info: ClusterInfo) -> dict[str, Any]:
    return {"name": _SHARED_FOLDER, "mountPath": info.shared_folder}


def volumes(run: Run, info: ClusterInfo) -> list[dict[str, Any]]:
    """Return the pod's volumes: shared memory of its own, and the claim of the shared file system.

    Raises:
        ValueError: the cluster info has no claim.
    """
    if not info.claim:
        raise ValueError(
            f"cluster info of '{info.cluster}' has no claim of a shared file system, where '{run.workload.name}' keeps "
            "its runs; deploy the cluster stack again"
        )
    size = f"{shared_memory_mib(run.facts)}Mi"
    return [
        {"name": _SHARED_MEMORY, "emptyDir": {"medium": "Memory", "sizeLimit": size}},
        {"name": _SHARED_FOLDER, "persistentVolumeClaim": {"claimName": info.claim}},
    ]


def security(run: Run, *, serves_ssh: bool = False) -> dict[str, Any]:
    """Return the container's security context, as narrow as the run allows.

    EFA registers memory with the adapter, which a container may only do without limit with IPC_LOCK.
    """
    capabilities = {
        **({} if serves_ssh else {"drop": ["ALL"]}),
        **({"add": ["IPC_LOCK"]} if run.efa_per_node else {}),
    }
    return {
        "allowPrivilegeEscalation": False,
        **({"capabilities": capabilities} if capabilities else {}),
        # Nobody has said that EFA, NCCL and the Neuron runtime do without what the runtime's profile forbids.
        **({} if run.accelerated else {"seccompProfile": {"type": "RuntimeDefault"}}),
    }


def restarts(run: Run) -> int:
    """Return how often a run is started again: one that does not resume would only start from the beginning."""
    return MAX_RESTARTS if run.resumes else 0
