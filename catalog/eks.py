"""Limits of Amazon EKS: Kubernetes versions, node images, and the capacity types of a node group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Final

from catalog.instance_facts import Architecture, InstanceFacts
from catalog.pool import Capacity, CapacityBlock, OnDemand, Reservation, ReservationGroup, Spot
from catalog.versions import KUBE_SCHEDULER_1_32, KUBE_SCHEDULER_1_33, KUBE_SCHEDULER_1_35

STANDARD_SUPPORT_ENDS: Mapping[str, str] = {
    "1.32": "2026-03-23",
    "1.33": "2026-07-29",
    "1.34": "2026-12-02",
    "1.35": "2027-03-27",
    "1.36": "unknown",
}
"""Kubernetes versions that a cluster can be made with, and the day on which their standard support ends.

From that day a version costs extra, for a year; then EKS takes no new cluster of it and upgrades existing ones.
Sources, read 2026-11-24: the versions are those of `KubernetesVersion` in aws-cdk-lib 2.275.0, less those whose
extended support has ended or ends in the week of reading (1.31: 2026-11-26); the days are those of the EKS User
Guide's release calendar, that of 1.35 of endoflife.date's copy. `aws eks describe-cluster-versions` prints the current
ones.
"""

KUBERNETES_VERSIONS: Final = tuple(STANDARD_SUPPORT_ENDS)
"""The versions, oldest first."""

DEFAULT_KUBERNETES_VERSION: Final = "1.35"
"""The newest whose end of standard support is known."""

NEURON_KUBE_SCHEDULERS: Mapping[str, str] = {
    "1.32": KUBE_SCHEDULER_1_32,
    "1.33": KUBE_SCHEDULER_1_33,
    "1.34": KUBE_SCHEDULER_1_33,
    "1.35": KUBE_SCHEDULER_1_35,
    "1.36": KUBE_SCHEDULER_1_35,
}
"""The kube-scheduler beside Neuron's extension, by the cluster's version: of the same version or one older, which is
what Kubernetes supports (kubernetes.io, "Version Skew Policy"). Neuron's chart has 1.31 up to its release 1.10.0."""

EKS_DEFAULT: Final = "eks-default"
"""In place of an add-on's version: the one that EKS selects for the Kubernetes version when it is created."""

DRA_FROM: Final = "1.34"
"""Oldest version on which pods claim EFA interfaces by dynamic resource allocation, on managed node groups (EKS User
Guide, "Manage EFA devices on Amazon EKS", read 2026-11-24)."""

DEFAULT_SYSTEM_TYPE: Final = "m6i.xlarge"
"""Default instance type of the system nodes: 4 vCPUs and 16 GiB."""

MIN_ZONES: Final = 2
"""Zones that a control plane needs subnets in (EKS User Guide, "VPC and subnet requirements")."""

ENDING: Final = "2026-12-31"
"""A version whose standard support ends by this day is worth a warning: five weeks from the day of reading."""

GROUPS_QUOTA: Final = 30
"""Managed node groups of a cluster, unless AWS raises it (EKS User Guide, "Service quotas")."""

GROUP_NODES_QUOTA: Final = 450
"""Nodes of a managed node group, unless AWS raises it (EKS User Guide, "Service quotas")."""

POD_ADDRESSES: Final = 16
"""Addresses that a node holds for its pods when nothing else is said: one training pod, and what runs on every
node (network, devices, storage drivers) where it does not share the node's own address."""


@dataclass(frozen=True, slots=True)
class AddOn:
    """An EKS add-on with a version or configuration other than EKS's default."""

    version: str | None = None
    """Its version, such as v1.2.3-eksbuild.1; absent: the pinned one for the Kubernetes version, else EKS's default."""
    configuration: dict[str, object] = field(default_factory=dict)
    """Its own configuration; `aws eks describe-addon-configuration` shows what it takes."""


def service_range(networks: Iterable[IPv4Network]) -> str:
    """Return the range that EKS gives a new cluster's services in a VPC of these ranges, where nobody chooses one.

    Sources: botocore, eks KubernetesNetworkConfigRequest (the two ranges); awslabs/amazon-eks-ami, bootstrap.sh (the
    second in a VPC with addresses that begin with 10).
    """
    ten = any(str(network.network_address).startswith("10.") for network in networks)
    return "172.20.0.0/16" if ten else "10.100.0.0/16"


_IMAGES: Mapping[tuple[str, Architecture], str] = {
    ("none", "x86_64"): "AL2023_x86_64_STANDARD",
    ("none", "arm64"): "AL2023_ARM_64_STANDARD",
    ("gpu", "x86_64"): "AL2023_x86_64_NVIDIA",
    ("gpu", "arm64"): "AL2023_ARM_64_NVIDIA",
    ("neuron", "x86_64"): "AL2023_x86_64_NEURON",
}


def ami_type(instance: InstanceFacts) -> str:
    """Return the Amazon Linux 2023 image that EKS has for an instance type (botocore: eks AMITypes).

    Raises:
        LookupError: EKS has none, such as for Neuron devices on an Arm machine.
    """
    kind = instance.accelerator.kind if instance.accelerator else "none"
    try:
        return _IMAGES[kind, instance.architecture]
    except KeyError:
        raise LookupError(
            f"EKS has no Amazon Linux 2023 image for '{instance.name}' ({kind} on {instance.architecture})"
        ) from None


def capacity_type(capacity: Capacity) -> str:
    """Return a node group's capacity type (botocore: eks CapacityTypes).

    Reservations are on-demand capacity to EKS: the launch template targets them.
    """
    match capacity:
        case OnDemand() | Reservation() | ReservationGroup():
            return "ON_DEMAND"
        case Spot():
            return "SPOT"
        case CapacityBlock():
            return "CAPACITY_BLOCK"
        case other:
            # The check `capacity-unsupported` stops them; as on-demand they would buy the wrong thing.
            raise AssertionError(f"an EKS node group cannot take capacity from {other.source}")
