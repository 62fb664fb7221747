"""A node of a pool as Kubernetes sees it: labels, taints, capacity and what of it pods may ask for, by the catalog.

`node(pool, name)` is the whole object; its parts are for nodes that are made in another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog.instance_facts import InstanceFacts
from catalog.instances import instance
from catalog.kubernetes import (
    EFA,
    GPU,
    HUGE_PAGES,
    INSTANCE_TYPE_LABEL,
    NETWORK_LAYER,
    NEURON,
    reserved_huge_pages_mib,
)
from catalog.pool import Pool
from catalog.slurm import slurm_topology
from trainforge.eks import node_group

PODS = "110"
"""Pods of a node: the kubelet's own default, more than these tests place."""

_HYPERPOD_LABELS = {
    "sagemaker.amazonaws.com/node-health-status": "Schedulable",
    "sagemaker.amazonaws.com/deep-health-check-status": "Passed",
}
_EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}


def labels(pool: Pool, *, blocks: Sequence[str] = (), hyperpod: bool = False) -> dict[str, str]:
    """Return the labels of a pool's node, besides its name.

    `blocks` names its place in EC2's network, the farthest layer first; layers that it leaves out, and that the type
    has, are one block for all. HyperPod's nodes carry SageMaker's name of the type, and how healthy they are.
    """
    facts = instance(pool.instance_type)
    layers = range(1, (facts.topology_layers or 0) + 1)
    names = [*blocks, *("one" for _ in layers)][: len(layers)]
    return {
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "arm64" if facts.architecture == "arm64" else "amd64",
        "topology.kubernetes.io/zone": pool.availability_zone,
        INSTANCE_TYPE_LABEL: f"ml.{pool.instance_type}" if hyperpod else pool.instance_type,
        **node_group.labels(pool.name),
        **{f"{NETWORK_LAYER}{layer}": name for layer, name in zip(layers, names, strict=True)},
        **(_HYPERPOD_LABELS if hyperpod else {}),
    }


def taints(pool: Pool) -> list[dict[str, str]]:
    """Return the taints of a pool's node, those of its node group, as Kubernetes spells them."""
    return [
        {"key": one["Key"], "value": one["Value"], "effect": _EFFECTS[one["Effect"]]}
        for one in node_group.taints(instance(pool.instance_type))
    ]


def capacity(pool: Pool) -> dict[str, str]:
    """Return what a pool's node has: the whole machine, and its devices as their plugins count them."""
    facts = instance(pool.instance_type)
    vcpus = _vcpus(pool, facts)
    return {
        "cpu": str(vcpus),
        "memory": f"{facts.memory_mib}Mi",
        "ephemeral-storage": f"{pool.volume_gib}Gi",
        "pods": PODS,
        **_devices(facts, vcpus),
    }


def allocatable(pool: Pool) -> dict[str, str]:
    """Return what pods may ask of a pool's node: the capacity without what the node keeps for itself.

    It is what HyperPod's command line counts on (sagemaker-hyperpod-cli 3.9, quota_allocation_util.py), which keeps
    more than EKS's own images do: 0.1 vCPU, 30 % of the first, 15 % of the second, 10 % of the next two and 6 % of
    the rest; 0.5 GiB of memory, 30 % of the first 4 GiB, 25 % of the next 4, 20 % of the next 8, 17 % up to 128 GiB
    and 7 % of the rest. Huge pages are no memory of pods that do not ask for them.
    """
    facts = instance(pool.instance_type)
    vcpus = _vcpus(pool, facts)
    millicores = vcpus * 1000 - 100 - _share(vcpus * 1000, ((1000, 30), (1000, 15), (2000, 10)), 6)
    gib = 1024
    kept = 512 + _share(facts.memory_mib, ((4 * gib, 30), (4 * gib, 25), (8 * gib, 20), (112 * gib, 17)), 7)
    memory = facts.memory_mib - kept - reserved_huge_pages_mib(facts, vcpus)
    return {**capacity(pool), "cpu": f"{millicores}m", "memory": f"{max(memory, 0)}Mi"}


def node(pool: Pool, name: str, *, blocks: Sequence[str] = (), hyperpod: bool = False) -> dict[str, Any]:
    """Return a pool's node as an object that is ready; a server takes its `status` by a request of its own."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, **labels(pool, blocks=blocks, hyperpod=hyperpod)},
        },
        "spec": {"taints": taints(pool)},
        "status": {
            "capacity": capacity(pool),
            "allocatable": allocatable(pool),
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }


def _vcpus(pool: Pool, facts: InstanceFacts) -> int:
    return slurm_topology(facts, pool.threads_per_core).cpus


def _devices(facts: InstanceFacts, vcpus: int) -> dict[str, str]:
    """Return the devices and huge pages of a machine, those that it has."""
    counts = {
        GPU: facts.accelerators if facts.has_gpus else 0,
        NEURON: facts.accelerators if facts.has_neuron else 0,
        EFA: facts.efa_interfaces,
    }
    found = {name: str(count) for name, count in counts.items() if count}
    pages = reserved_huge_pages_mib(facts, vcpus)
    return {**found, HUGE_PAGES: f"{pages}Mi"} if pages else found


def _share(amount: int, steps: Sequence[tuple[int, int]], rest: int) -> int:
    """Return the sum of percentages of an amount: of its first part, the next ones, and of the rest."""
    kept = 0
    for size, percent in steps:
        kept += min(amount, size) * percent // 100
        amount -= min(amount, size)
    return kept + amount * rest // 100
