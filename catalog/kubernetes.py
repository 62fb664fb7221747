"""Resources of a node for pods: the names of its devices, and the processors and memory that are left for pods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catalog.instance_facts import InstanceFacts

GPU = "nvidia.com/gpu"
"""A GPU, as NVIDIA's device plugin counts them; also the key of the taint that keeps other pods away."""

NEURON = "aws.amazon.com/neuron"
"""A Neuron device (a chip, not a core), as AWS's Neuron device plugin counts them; also a taint's key."""

EFA = "vpc.amazonaws.com/efa"
"""An EFA interface, as AWS's EFA device plugin counts them."""

DEVICES = (GPU, NEURON)
"""The devices that pods on accelerated nodes ask for."""

SIDECARS_FROM = "1.29"
"""Oldest version on which sidecar containers are active by default (kubernetes.io, "Sidecar Containers")."""

HUGE_PAGES = "hugepages-2Mi"
"""Memory in pages of 2 MiB that the node set aside at start."""

INSTANCE_TYPE_LABEL = "node.kubernetes.io/instance-type"
"""The label of a node with its instance type; on HyperPod the type carries SageMaker's `ml.`."""


POOL_LABEL = "trainforge/pool"
"""The label that nodes of our own node groups carry: the name of their pool."""

NETWORK_LAYER = "topology.k8s.aws/network-node-layer-"
"""The label of a node's place in EC2's network, with the layer's number, 1 the farthest (cloud-provider-aws)."""

SHARED_CLAIM = "fsx-claim"
"""The claim of the shared Lustre file system in the namespace of the jobs, as the predecessor's manifests name it."""


BUCKET_CLAIM = "data-claim"
"""The claim of the data bucket in the namespace of the jobs."""

GRACE_SECONDS = (60, 120, 300, 600)
"""Seconds from a pod's SIGTERM to its SIGKILL, of which a run gets the first that is enough for a save.

Our choice. There are few, because a TrainJob takes the time from its runtime and each needs one; the last is a bound,
because a lost node stops its job for that long, too.
"""

SAFE_TO_DELETE = "kueue.x-k8s.io/safe-to-forcefully-delete"
"""The annotation of a pod that Kueue may delete by force when its node is unreachable (kueue 0.19,
FailureRecoveryPolicy)."""

FORCED_AFTER_SECONDS = 60
"""Seconds after a pod's grace period until Kueue deletes it by force (kueue 0.19, pod_termination_controller.go)."""

UNREACHABLE_SECONDS = 30
"""Seconds that a pod stays on a node that is unreachable or not ready before it is deleted: our choice; 300 is
Kubernetes' default. A node counts as unreachable after 40 to 50 seconds of silence, so short interruptions end no
job."""

_LOST_NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def lost_node_tolerations() -> list[dict[str, Any]]:
    """Return the tolerations with which a pod leaves a lost node sooner than by Kubernetes' default.

    An operator that waits for the pod's deletion waits that long.
    """
    lost = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": UNREACHABLE_SECONDS}
    return [{"key": key, **lost} for key in _LOST_NODE_TAINTS]


def device(instance: InstanceFacts) -> str:
    """Return the name of a node's accelerators, which is also the key of its taint; empty where it has none.

    The taint keeps pods away that ask for no accelerator; device plugins tolerate a key of this name by custom.
    """
    return GPU if instance.has_gpus else NEURON if instance.has_neuron else ""


def device_tolerations(keys: Iterable[str] = DEVICES) -> list[dict[str, str]]:
    """Return the tolerations with which a pod goes where taints of these keys keep others away."""
    return [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in keys if key]


def torch_runtime_name(grace_seconds: int) -> str:
    """Return the name of the training runtime whose pods have this grace; the shortest has Trainer's own name."""
    return "torch-distributed" if grace_seconds == GRACE_SECONDS[0] else f"torch-distributed-{grace_seconds}s"


def auto_resumed(namespace: str) -> bool:
    """Return whether HyperPod resumes the PyTorchJobs of a namespace that ask for it.

    The job must be in the namespace `kubeflow` or in one whose name begins with `hyperpod`: SageMaker guide, "Running
    jobs using the SageMaker HyperPod CLI", read November 2026. The training operator must be of release 1.7.0, 1.8.0
    or 1.8.1: the same guide, "Running jobs using kubectl".
    """
    return namespace == "kubeflow" or namespace.startswith("hyperpod")


_HUGE_PAGES_MIB = 5120
_HUGE_PAGES_MIB_PER_VCPU = 220


def reserved_huge_pages_mib(instance: InstanceFacts, vcpus: int | None = None) -> int:
    """Return the memory that EFA's host software sets aside as huge pages, in MiB; 0 without EFA.

    `vcpus` is the node's number where it is not the type's own (one thread per core). 110 MiB for each of two
    endpoints on every vCPU. Sources: bottlerocket-core-kit pull request 141, which states the rule of EFA's own
    script (110 pages of 2 MiB a processor, twice); it agrees to 2 MiB with the nodes that the predecessor
    (awslabs/awsome-distributed-ai) shows: 21122Mi on a p4de of 96 vCPUs, 42242Mi on a p5 of 192.
    """
    if not instance.supports_efa:
        return 0
    return _HUGE_PAGES_MIB_PER_VCPU * (instance.vcpus if vcpus is None else vcpus)


def huge_pages_mib(instance: InstanceFacts, vcpus: int | None = None) -> int:
    """Return the huge pages that a pod asks for where libfabric uses them, in MiB; 0 without EFA.

    A pod that uses huge pages without asking for them ends with a bus error. 5120 MiB is what AWS asks for in
    the EKS User Guide ("Run machine learning training on Amazon EKS with Elastic Fabric Adapter") and in the
    SageMaker guide ("Using the training operator to run jobs"); small machines set less aside.
    """
    return min(_HUGE_PAGES_MIB, reserved_huge_pages_mib(instance, vcpus))


def pod_millicores(vcpus: int) -> int:
    """Return the processor time that a pod with a node of its own asks for, in thousandths of a vCPU.

    Half a vCPU and 8 % are left to the kubelet and to what runs on every node (CNI, device plugins, log
    shippers). That is a little more than HyperPod's command line leaves (sagemaker-hyperpod-cli,
    quota_allocation_util.py: 0.1 vCPU, 30 % of the first, 15 % of the second, 10 % of the next two, 6 % of
    the rest), so what fits here fits there.
    """
    return vcpus * 920 - 500


def pod_memory_mib(instance: InstanceFacts, vcpus: int | None = None) -> int:
    """Return the memory that a pod with a node of its own asks for, in MiB; huge pages not counted.

    A fifth of the first 128 GiB, 8 % of what is above and 1.5 GiB are left to the node, again a little more
    than sagemaker-hyperpod-cli leaves (0.5 GiB, 30 % of the first 4 GiB, 25, 20 and 17 % up to 128 GiB, 7 %
    above); the kubelet offers huge pages apart, so what EFA sets aside goes off too. It is a request, to get a
    node with that much: without a limit a pod may use more. The smallest types are asked for a quarter.
    """
    first = min(instance.memory_mib, 128 * 1024)
    kept = first * 20 // 100 + (instance.memory_mib - first) * 8 // 100 + 1536
    left = instance.memory_mib - kept - reserved_huge_pages_mib(instance, vcpus)
    return max(left, instance.memory_mib // 4)
