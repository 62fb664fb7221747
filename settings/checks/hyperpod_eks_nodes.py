"""Rules on the nodes of HyperPod orchestrated by EKS: their labels and taints, and what the chart runs on them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from catalog.hyperpod_eks import CHART_NEURON_TAINTS, CHART_NEURON_TYPES, HEALTH_AGENT_FAMILIES
from catalog.kubernetes import POOL_LABEL
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import facts, uses
from settings.parser.values import guess, listed, shown

# botocore: sagemaker ClusterKubernetesLabels and ClusterKubernetesTaint.
_KEY = re.compile(
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
)
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_LONGEST_KEY, _LONGEST_VALUE = 317, 63


@error("hyperpod-eks-neuron-plugin", leans_on=("hyperpod_eks.pools", "pools"))
def _neuron_plugin(subject: Subject) -> Iterator[Problem]:
    """HyperPod's chart runs its Neuron device plugin on types and past taints of a fixed list.

    On another node no pod ever gets a Neuron device. Source: catalog.hyperpod_eks.
    """
    eks = subject.settings.hyperpod_eks
    if eks is None or not eks.dependencies.neuron_device_plugin:
        return
    hint = "install a plugin of your own and set 'hyperpod_eks.dependencies.neuron_device_plugin: false'"
    for use in uses(subject.settings):
        known = facts(use.pool.instance_type) if use.cluster == "hyperpod_eks" and use.pool else None
        if known is None or not known.has_neuron:
            continue
        if known.name not in CHART_NEURON_TYPES:
            yield Problem(
                use.path,
                use.name,
                f"pool '{use.name}': the Neuron device plugin of HyperPod's chart does not run on '{known.name}'",
                f"it runs on {listed(CHART_NEURON_TYPES, 'and')}; take one of these, or {hint}",
            )
        for number, taint in enumerate(eks.taints.get(use.name, [])):
            if taint.effect == "prefer-no-schedule" or any(
                taint.key == key and effect in ("", taint.effect) for key, effect in CHART_NEURON_TAINTS
            ):
                continue
            yield Problem(
                f"hyperpod_eks.taints.{use.name}.{number}",
                taint.key,
                f"pool '{use.name}': the Neuron device plugin of HyperPod's chart does not tolerate the taint "
                f"'{shown(taint.key)}' ({taint.effect})",
                f"write 'aws.amazon.com/neuron' with the effect 'no-schedule', or {hint}",
            )


@warning("hyperpod-eks-health-agent", leans_on=("hyperpod_eks.pools", "pools"))
def _health_agent(subject: Subject) -> Iterator[Problem]:
    """The health monitoring agent of HyperPod's chart runs on the types of a fixed list.

    Elsewhere nobody looks for faults of accelerators, so no node is replaced for one. Source: catalog.hyperpod_eks.
    """
    for use in uses(subject.settings):
        known = facts(use.pool.instance_type) if use.cluster == "hyperpod_eks" and use.pool else None
        if known and known.is_accelerated and known.family not in HEALTH_AGENT_FAMILIES:
            yield Problem(
                use.path,
                use.name,
                f"pool '{use.name}': HyperPod's health monitoring agent does not run on '{known.name}', so a node "
                "with a faulty accelerator is not found",
                f"its families are {listed(HEALTH_AGENT_FAMILIES, 'and')}",
            )


@error("hyperpod-eks-node-pool", leans_on=("hyperpod_eks.pools",))
def _node_pools(subject: Subject) -> Iterator[Problem]:
    """Settings of nodes by pool name this cluster's pools; for others they do nothing."""
    eks = subject.settings.hyperpod_eks
    for what in ("labels", "taints", "autoscaled_pools"):
        for number, pool in enumerate(getattr(eks, what) if eks else ()):
            if eks and pool not in eks.pools:
                yield Problem(
                    f"hyperpod_eks.{what}.{number if what == 'autoscaled_pools' else pool}",
                    pool,
                    f"'hyperpod_eks.pools' does not list the pool '{shown(pool)}'{guess(pool, eks.pools)}",
                    f"it lists {listed(eks.pools, 'and')}",
                )


@error("hyperpod-eks-node-label")
def _node_labels(subject: Subject) -> Iterator[Problem]:
    """CreateCluster refuses keys and values that Kubernetes does not take (botocore: ClusterKubernetesLabels)."""
    eks = subject.settings.hyperpod_eks
    pairs: list[tuple[str, str, str]] = []
    for pool, labels in eks.labels.items() if eks else ():
        pairs += [(f"hyperpod_eks.labels.{pool}.{key}", key, value) for key, value in labels.items()]
    for pool, taints in eks.taints.items() if eks else ():
        pairs += [
            (f"hyperpod_eks.taints.{pool}.{number}", taint.key, taint.value or "")
            for number, taint in enumerate(taints)
        ]
    for path, key, value in pairs:
        if key == POOL_LABEL and ".labels." in path:
            yield Problem(
                path,
                key,
                f"the label '{POOL_LABEL}' is the pool's name, by which jobs find its nodes",
                "choose another key",
            )
        if not _KEY.fullmatch(key) or len(key) > _LONGEST_KEY:
            yield Problem(
                path,
                key,
                f"'{shown(key)}' is not a key that Kubernetes takes",
                "write 'name' or 'example.com/name'",
            )
        if not _VALUE.fullmatch(value) or len(value) > _LONGEST_VALUE:
            yield Problem(
                path,
                value,
                f"'{shown(value)}' is not at most {_LONGEST_VALUE} letters, digits, '-', '_' and '.' that begin and "
                "end with a letter or digit",
            )
