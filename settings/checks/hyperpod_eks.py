"""Rules on HyperPod orchestrated by EKS: version, autoscaling, and what is installed on it."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.hyperpod_eks import (
    CERT_MANAGER,
    KUBERNETES_VERSIONS,
    OBSERVABILITY,
    OBSERVABILITY_VCPUS,
    TASK_GOVERNANCE,
    TRAINING_OPERATOR,
)
from catalog.kubernetes import auto_resumed
from catalog.operators import MPIJOBS, PYTORCHJOBS, clashes
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import facts
from settings.checks.shipping import shippings
from settings.parser.values import guess, listed, shown
from settings.sections.hyperpod_eks import HyperPodEksSettings
from workloads.request import resolve
from workloads.spec import Format

_OPERATORS = {
    Format.HYPERPODPYTORCHJOB: "training_operator",
    Format.PYTORCHJOB: "dependencies.training_operator",
    Format.MPIJOB: "dependencies.mpi_operator",
    Format.TRAINJOB: "trainer",
}
"""By format, the switch of the operator that runs it."""


@error("hyperpod-eks-version", too_strict=True)
def _version(subject: Subject) -> Iterator[Problem]:
    """HyperPod supports fewer Kubernetes versions than EKS.

    Source: catalog.hyperpod_eks. Too strict where HyperPod has added a version since.
    """
    eks = subject.settings.hyperpod_eks
    if eks and eks.kubernetes_version not in KUBERNETES_VERSIONS:
        version = eks.kubernetes_version
        yield Problem(
            "hyperpod_eks.kubernetes_version",
            version,
            f"HyperPod does not support the Kubernetes version '{shown(version)}'"
            f"{guess(version, KUBERNETES_VERSIONS)}",
            f"it supports {listed(KUBERNETES_VERSIONS)}",
        )


@error("hyperpod-eks-autoscaling")
def _autoscaling(subject: Subject) -> Iterator[Problem]:
    """HyperPod's Karpenter needs continuous provisioning and automatic recovery.

    Source: SageMaker guide, "Autoscaling on SageMaker HyperPod EKS", prerequisites.
    """
    eks = subject.settings.hyperpod_eks
    if eks is None:
        return
    if not eks.autoscaling:
        if eks.autoscaled_pools:
            yield Problem(
                "hyperpod_eks.autoscaled_pools",
                ", ".join(eks.autoscaled_pools),
                "nobody would fill pools that start without a node: autoscaling is off",
                "set 'autoscaling: true', or remove 'autoscaled_pools'",
            )
        return
    if not eks.continuous_provisioning:
        yield Problem(
            "hyperpod_eks.continuous_provisioning",
            False,
            "autoscaling needs continuous provisioning",
            "set 'continuous_provisioning: true', or 'autoscaling: false'",
        )
    if eks.node_recovery != "automatic":
        yield Problem(
            "hyperpod_eks.node_recovery",
            eks.node_recovery,
            "autoscaling needs automatic recovery of nodes",
            "set 'node_recovery: automatic', or 'autoscaling: false'",
        )


@error("hyperpod-eks-operator", leans_on=("workloads", "pools"))
def _operators(subject: Subject) -> Iterator[Problem]:
    """A job of a kind that no operator watches is accepted by the cluster, and never starts."""
    eks = subject.settings.hyperpod_eks
    if eks is None:
        return
    for shipping in shippings(subject.settings):
        if shipping.cluster != "hyperpod_eks" or shipping.pool is None:
            continue
        meant = resolve(shipping.wanted.request(shipping.cluster, shipping.pool))
        switch = _OPERATORS.get(meant.format) if meant.format else None
        if switch and not _on(eks, switch):
            yield Problem(
                shipping.cluster_path,
                shipping.cluster,
                f"'{shown(shipping.wanted.workload)}' is shipped as {meant.format}, and the operator that runs it is "
                "switched off",
                f"set 'hyperpod_eks.{switch}: true'",
            )


def _on(eks: HyperPodEksSettings, switch: str) -> bool:
    section, _, name = switch.rpartition(".")
    return bool(getattr(getattr(eks, section) if section else eks, name))


@error("hyperpod-eks-clash")
def _clash(subject: Subject) -> Iterator[Problem]:
    """A definition of Kubernetes has one owner: HyperPod's chart, an add-on of a switch here, or one that is named.

    Source: catalog.operators.
    """
    eks = subject.settings.hyperpod_eks
    if eks is None:
        return
    brought = {"hyperpod-dependencies": "dependencies"}
    brought |= {"trainer": "trainer"} if eks.trainer else {}
    brought |= {TRAINING_OPERATOR: "training_operator"} if eks.training_operator else {}
    brought |= {TASK_GOVERNANCE: "task_governance"} if eks.task_governance else {}
    brought |= {OBSERVABILITY: "observability"} if eks.observability else {}
    named = [name for name, add_on in eks.add_ons.items() if add_on is not None]
    for name in named:
        if name in brought:
            yield Problem(
                f"hyperpod_eks.add_ons.{name}",
                name,
                f"'hyperpod_eks.{brought[name]}' installs the add-on '{name}' already",
                "remove one of both",
            )
    off = set() if eks.dependencies.training_operator else {PYTORCHJOBS}
    off |= set() if eks.dependencies.mpi_operator else {MPIJOBS}
    for first, second, both in clashes([*brought, *named]):
        same = [one for one in both if first != "hyperpod-dependencies" or one not in off]
        if second in named and second not in brought and same:
            yield Problem(
                f"hyperpod_eks.add_ons.{second}",
                second,
                f"'{second}' and '{first}' bring the same definition, '{same[0]}', and each would undo the other's",
                f"remove it, or what 'hyperpod_eks.{brought.get(first, 'add_ons')}' brings",
            )


@error("hyperpod-eks-certificates")
def _certificates(subject: Subject) -> Iterator[Problem]:
    """HyperPod's training operator gets its certificates from cert-manager (guide, "Installing the operator")."""
    eks = subject.settings.hyperpod_eks
    if eks and eks.training_operator and eks.add_ons.get(CERT_MANAGER, ...) is None:
        yield Problem(
            f"hyperpod_eks.add_ons.{CERT_MANAGER}",
            None,
            "HyperPod's training operator needs cert-manager, and the add-on is left out",
            "keep the add-on, or set 'hyperpod_eks.training_operator: false'",
        )


@error("hyperpod-eks-observability", too_strict=True, leans_on=("hyperpod_eks.pools", "pools"))
def _observability(subject: Subject) -> Iterator[Problem]:
    """The add-on's pods need a node of HyperPod's with room for all of them, or the deployment waits in vain.

    Source: catalog.hyperpod_eks. Too strict where a smaller node has little else to do.
    """
    eks, pools = subject.settings.hyperpod_eks, subject.settings.pools
    if eks is None or eks.observability is None:
        return
    # Karpenter brings nodes for pods that wait, and the deployment would wait for these pods.
    standing = [name for name in eks.pools if name not in eks.autoscaled_pools]
    sizes = [facts(pools[name].instance_type) for name in standing if name in pools]
    if not any(size is None or size.vcpus >= OBSERVABILITY_VCPUS for size in sizes):
        yield Problem(
            "hyperpod_eks.observability",
            ", ".join(eks.pools),
            f"no pool of 'hyperpod_eks' starts with a node of {OBSERVABILITY_VCPUS} virtual CPUs (a '4xlarge'), which "
            "HyperPod's observability add-on needs",
            "take a pool of larger nodes, or remove 'hyperpod_eks.observability'",
        )


@error("hyperpod-eks-closed", too_strict=True, leans_on=("network",))
def _closed(subject: Subject) -> Iterator[Problem]:
    """The chart that HyperPod demands comes from GitHub, and its images from registries on the internet.

    Too strict where the network has a way there of its own, such as a proxy.
    """
    if subject.settings.hyperpod_eks and subject.settings.network.closed:
        yield Problem(
            "network.closed",
            True,
            "HyperPod on EKS installs a chart from GitHub, and a closed network has no way there",
            "set 'network.closed: false', or take HyperPod with Slurm ('hyperpod')",
        )


@warning("hyperpod-eks-resume")
def _resumed(subject: Subject) -> Iterator[Problem]:
    """HyperPod resumes PyTorchJobs in 'kubeflow' and in namespaces that begin with 'hyperpod' only."""
    eks = subject.settings.hyperpod_eks
    if eks and eks.node_recovery == "automatic" and not auto_resumed(eks.namespace):
        yield Problem(
            "hyperpod_eks.namespace",
            eks.namespace,
            f"HyperPod does not resume PyTorchJobs in the namespace '{shown(eks.namespace)}' after a node's failure",
            "choose a namespace that begins with 'hyperpod'",
        )
