"""Health checks of the nodes of an EKS cluster: a pod on each accelerated node writes what it finds to the Node."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from constructs import Construct

from catalog.eks import DEFAULT_SYSTEM_TYPE
from catalog.health_sweep import HEALTH_NAMESPACE, HealthSweep
from catalog.instance_facts import Architecture
from catalog.instances import instance
from catalog.kubernetes import device_tolerations
from catalog.pool import Pool
from catalog.versions import EXPORTERS_BASE
from trainforge.eks.cluster import KubernetesCluster
from trainforge.eks.devices import on_types
from trainforge.eks.health_sweep import health_sweep
from trainforge.eks.objects import Objects
from trainforge.eks.pod_rights import admission_policy, granted, rule, service_account
from trainforge.programs import HEALTH, HEALTH_AGENT
from trainforge.workload_image import BASE_ARGUMENT, BuildContext, WorkloadImage

NAME = "health-agent"
NAMESPACE = HEALTH_NAMESPACE
TAINT = "trainforge/unhealthy"
"""The taint of a node with a fault; the agent adds it and never takes it away."""

CONDITIONS = ("HealthChecksPassed", "HealthSweepPassed")
"""The conditions that the agent sets: of its own rounds, and of a sweep's."""

REPAIR_LABEL = "sagemaker.amazonaws.com/node-health-status"
REPAIRS = ("UnschedulablePendingReboot", "UnschedulablePendingReplacement")
"""The label by which HyperPod repairs a node, and its values for that (SageMaker guide, "Manually quarantine, replace,
or reboot a node")."""

_SHARED = "/run/trainforge-health"
_SWEEP_SHARED = "/run/trainforge-health-sweep"
_DOCKERFILE = "Dockerfile"
_LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "trainforge"}
_ACCOUNT = (NAME, NAMESPACE)
_RIGHTS = f"trainforge-{NAME}"
"""The name of the roles, the admission policy and their bindings."""

_EVENTS_NAMESPACE = "default"
"""The namespace of a Node's events."""

_NODE_OF_TOKEN = "authentication.kubernetes.io/node-name"  # noqa: S105 -- a name
"""The node of the pod that a token is bound to (kubernetes.io, "Managing Service Accounts"; stable since 1.32)."""


class HealthAgent(Construct):
    """The health agent on all accelerated nodes of the pools, with an image for each of their architectures.

    `action` is what follows on a fault: none, taint, or repair, which HyperPod does. With `sweep` a CronJob checks idle
    nodes by a longer suite; it runs on the nodes of `system_type`. Nodes must be allowed to pull `images`.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster: KubernetesCluster,
        pools: Sequence[Pool],
        action: str,
        sweep: HealthSweep | None = None,
        system_type: str = DEFAULT_SYSTEM_TYPE,
        hyperpod: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        system = instance(system_type).architecture
        needed = {*_types(pools), *([system] if sweep and _types(pools) else [])}
        self.images: dict[Architecture, WorkloadImage] = {
            one: WorkloadImage(self, f"Image{_word(one)}", context=image_context(), architecture=one)
            for one in sorted(needed)
        }
        if self.images:
            uris = {one: image.image_uri for one, image in self.images.items()}
            documents = health_agent(
                pools, images=uris, action=action, sweep=sweep, system=system, hyperpod=hyperpod
            )
            Objects(self, "Objects", cluster=cluster, release=NAME, documents=documents)


def health_agent(
    pools: Sequence[Pool],
    *,
    images: Mapping[Architecture, str],
    action: str,
    sweep: HealthSweep | None = None,
    system: Architecture = "x86_64",
    hyperpod: bool = False,
) -> list[dict[str, Any]]:
    """Return the objects of the agent, none without accelerated pools; `images` has its image by architecture.

    `sweep` adds those of the sweep, whose own pod runs on nodes of the architecture `system`. On HyperPod nodes have
    SageMaker's names of types.

    The pods are privileged and share the node's processes: the checks run in the node's mounts, by its own programs and
    drivers. So whoever may exec into one is root of the node. RBAC cannot narrow a right to the pod's own node: an
    admission policy does, by the node's name in the pod's token, and leaves the agent its condition, its annotation and
    its taint alone.

    Raises:
        UnknownInstanceTypeError: the catalog does not have a pool's instance type.
    """
    types = _types(pools)
    prefix = "ml." if hyperpod else ""
    if not types:
        return []
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
        },
        service_account(*_ACCOUNT),
        *_rights(action),
        *_policy(action),
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
        },
        *(
            _daemon_set(one, [f"{prefix}{name}" for name in types[one]], images[one], action)
            for one in sorted(types)
        ),
        *(_sweep(sweep, types, images, action, system, prefix) if sweep else []),
    ]


def _sweep(
    sweep: HealthSweep,
    types: Mapping[Architecture, Sequence[str]],
    images: Mapping[Architecture, str],
    action: str,
    system: Architecture,
    prefix: str,
) -> list[dict[str, Any]]:
    requests = {"requests": {"cpu": "20m", "memory": "64Mi"}}
    pods = {
        # Without a limit of memory: DCGM and NCCL take what they need, on a node without jobs.
        one: _pod(images[one], [f"--action={action}", "--interval=0"], _SWEEP_SHARED, requests)
        for one in types
    }
    return health_sweep(sweep, types, pods=pods, images=images, runs_on=system, prefix=prefix)


def image_context() -> BuildContext:
    """Return the build context of the agent's image."""
    return BuildContext(
        folder=_staged(),
        dockerfile=_DOCKERFILE,
        includes=(HEALTH.name,),
        arguments={BASE_ARGUMENT: str(EXPORTERS_BASE)},
    )


@cache
def _staged() -> Path:
    """Return a folder with the Dockerfile and the checks, which is there until this process ends."""
    folder = Path(_temporary().name)
    shutil.copy(HEALTH_AGENT / _DOCKERFILE, folder)
    (folder / HEALTH.name).mkdir()
    for source in HEALTH.iterdir():
        if source.suffix in (".py", ".json"):
            shutil.copy(source, folder / HEALTH.name)
    return folder


@cache
def _temporary() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="trainforge-health-")


def _types(pools: Sequence[Pool]) -> dict[Architecture, list[str]]:
    """Return the accelerated instance types of the pools by architecture, sorted."""
    found: dict[Architecture, list[str]] = {}
    for name in sorted({pool.instance_type for pool in pools}):
        facts = instance(name)
        if facts.is_accelerated:
            found.setdefault(facts.architecture, []).append(name)
    return found


def _word(architecture: Architecture) -> str:
    return architecture.replace("_", "").capitalize()


def _rights(action: str) -> list[dict[str, Any]]:
    """Return the roles: a Node's status, its taints only where the action needs them, and events about it."""
    nodes = [
        rule("", ["nodes"], "get" if action == "none" else "get patch"),
        rule("", ["nodes/status"], "patch"),
    ]
    events = [rule("", ["events"], "create")]
    return [
        *granted(_RIGHTS, nodes, account=_ACCOUNT),
        *granted(_RIGHTS, events, account=_ACCOUNT, within=_EVENTS_NAMESPACE),
    ]


def _policy(action: str) -> list[dict[str, Any]]:
    """Return the admission policy of the agent's changes, and its binding."""

    def others(of: str) -> str:
        return f"{of}.status.conditions.filter(one, !(one.type in {list(CONDITIONS)}))"

    def same(*paths: str) -> str:
        return " && ".join(f"object.{path} == oldObject.{path}" for path in paths)

    own_node = (
        f"'{_NODE_OF_TOKEN}' in request.userInfo.extra && "
        f"request.userInfo.extra['{_NODE_OF_TOKEN}'][0] == request.name"
    )
    old_taints = "(has(oldObject.spec.taints) ? oldObject.spec.taints : [])"
    new_taints = "(has(object.spec.taints) ? object.spec.taints : [])"
    validations = {
        "the health agent changes the node of its own pod alone": own_node,
        "the health agent leaves finalizers and owners as they are": same(
            "metadata.?finalizers", "metadata.?ownerReferences"
        ),
        **_labels_kept(action),
        "the health agent leaves the node's settings as they are": same(
            "spec.?unschedulable", "spec.?providerID", "spec.?podCIDRs", "spec.?configSource"
        ),
        f"the health agent adds the taint '{TAINT}' alone, and takes none away": (
            f"{old_taints}.all(old, {new_taints}.exists(new, new == old)) && "
            f"{new_taints}.all(new, {old_taints}.exists(old, new == old) || "
            f"(new.key == '{TAINT}' && new.effect == 'NoSchedule'))"
        ),
        "the health agent leaves capacity and addresses as they are": same(
            "status.?capacity", "status.?allocatable", "status.?addresses"
        ),
        f"the health agent sets the conditions {' and '.join(CONDITIONS)} alone": (
            f"{others('object')} == {others('oldObject')}"
        ),
    }
    return admission_policy(
        _RIGHTS,
        account=_ACCOUNT,
        group="",
        resources=["nodes", "nodes/status"],
        operation="UPDATE",
        validations=validations,
    )


def _labels_kept(action: str) -> dict[str, str]:
    """Return the rule for a Node's labels: none may change, but the one by which HyperPod repairs a node."""
    if action != "repair":
        return {
            "the health agent leaves labels as they are": "object.metadata.?labels == oldObject.metadata.?labels"
        }
    old, new = (f"{one}.metadata.?labels.orValue({{}})" for one in ("oldObject", "object"))
    return {
        f"the health agent sets the label '{REPAIR_LABEL}' for a repair alone": (
            f"{new}.all(key, key == '{REPAIR_LABEL}' || {old}[?key] == {new}[?key]) && "
            f"{old}.all(key, key == '{REPAIR_LABEL}' || key in {new}) && "
            f"({new}[?'{REPAIR_LABEL}'] == {old}[?'{REPAIR_LABEL}'] || "
            f"{new}[?'{REPAIR_LABEL}'].orValue('') in {list(REPAIRS)})"
        )
    }


def _daemon_set(architecture: Architecture, types: Sequence[str], image: str, action: str) -> dict[str, Any]:
    labels = {**_LABELS, "app.kubernetes.io/component": architecture}
    resources = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    pod = _pod(image, [f"--action={action}"], _SHARED, resources)
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": f"{NAME}-{architecture.replace('_', '-')}",
            "namespace": NAMESPACE,
            "labels": labels,
        },
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    **pod,
                    "priorityClassName": "system-node-critical",
                    "affinity": on_types(types),
                },
            },
        },
    }


def _pod(image: str, arguments: Sequence[str], shared: str, resources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the agent's pod; `shared` is the folder of the node that it copies the checks to."""
    container = {
        "name": NAME,
        "image": image,
        "args": [*arguments, f"--shared={shared}"],
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "securityContext": {"privileged": True, "readOnlyRootFilesystem": True},
        "resources": dict(resources),
        "volumeMounts": [
            {"name": "shared", "mountPath": shared},
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 -- a volume of the pod's own
        ],
    }
    return {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "hostPID": True,
        "tolerations": [
            *device_tolerations(),
            {"key": TAINT, "operator": "Exists", "effect": "NoSchedule"},
        ],
        "containers": [container],
        "volumes": [
            {"name": "shared", "hostPath": {"path": shared, "type": "DirectoryOrCreate"}},
            {"name": "temporary", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }
