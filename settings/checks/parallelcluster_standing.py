"""The pools of a ParallelCluster before and after an update, and what of them is changed with nodes stopped only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.placement import placement
from settings.checks.parallelcluster_facts import Fact, both
from settings.checks.selection import facts
from settings.deployed import UNKNOWN, Deployed
from settings.deployment import Settings
from settings.sections.parallelcluster import ParallelClusterSettings


@dataclass(frozen=True, slots=True)
class Standing:
    """What a cluster consists of: pools with the partition that each is in, and pools of login nodes by name."""

    resources: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    logins: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Count:
    """Nodes of a pool: all, and those that stand whether jobs wait or not."""

    nodes: int
    kept: int

    def __str__(self) -> str:
        return f"{self.nodes} nodes, {self.kept} of them kept"


def standing_of(settings: Settings) -> Standing:
    """Return what settings ask for."""
    cluster = settings.parallelcluster
    if cluster is None:
        return Standing()
    queues = ((cluster.partitions.get(name, name), name) for name in cluster.pools if name in settings.pools)
    return Standing(frozenset(queues), frozenset(cluster.login))


def standing(deployed: Deployed) -> Standing:
    """Return what is deployed."""
    if deployed.settings:
        return standing_of(deployed.settings)
    queues = _items(deployed.at(("Scheduling", "SlurmQueues")))
    return Standing(
        frozenset(
            (str(queue.get("Name")), str(resource.get("Name")))
            for queue in queues
            for resource in _items(queue.get("ComputeResources"))
        ),
        frozenset(str(pool.get("Name")) for pool in _items(deployed.at(("LoginNodes", "Pools")))),
    )


def _items(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def login_nodes_before(deployed: Deployed | None, name: str) -> int:
    """Return how many login nodes a pool has that is deployed; one where that cannot be told."""
    if deployed and deployed.settings and deployed.settings.parallelcluster:
        return deployed.settings.parallelcluster.login[name].nodes
    count = deployed.at(("LoginNodes", "Pools", name, "Count")) if deployed else None
    return int(count) if isinstance(count, int | str) and str(count).isdigit() else 1


def resource_facts(queue: str, name: str) -> Iterator[Fact]:
    """Yield facts of a pool that is in the same partition before and after."""
    keys = ("Scheduling", "SlurmQueues", queue, "ComputeResources", name)

    def threads(then: Settings, _: ParallelClusterSettings) -> object:
        pool = then.pool(name)
        found = facts(pool.instance_type)
        return True if pool.threads_per_core == 1 and found and found.threads_per_core > 1 else None

    def group(then: Settings, _: ParallelClusterSettings) -> object:
        pool = then.pool(name)
        found = facts(pool.instance_type)
        if not found or not found.supports_efa or pool.capacity.source == "capacity-block":
            return None
        return placement(pool).cluster_group

    yield Fact(
        f"pools.{name}.instance_type",
        f"the instance type of pool '{name}'",
        (*keys, "InstanceType"),
        lambda then, _: then.pools[name].instance_type,
        matters=both,
    )
    yield Fact(
        f"pools.{name}.threads_per_core",
        f"whether hyper-threads of pool '{name}' are off",
        (*keys, "DisableSimultaneousMultithreading"),
        threads,
    )
    yield Fact(
        f"pools.{name}",
        f"the placement group of pool '{name}'",
        (*keys, "Networking", "PlacementGroup", "Enabled"),
        group,
        # One that is taken away: nodes may still be in it.
        matters=lambda before, _: str(before).lower() == "true",
    )
    yield Fact(
        f"pools.{name}.nodes",
        f"the size of pool '{name}'",
        keys,
        lambda then, cluster: _count(then, cluster, name),
        part=_count_of,
        matters=_shrinks,
    )


def _count(then: Settings, cluster: ParallelClusterSettings, name: str) -> object:
    if cluster.slurm.update_strategy == "terminate":
        return UNKNOWN
    pool = then.pool(name)
    by_default = 0 if pool.capacity.source in ("on-demand", "spot") else pool.nodes
    return Count(pool.nodes, cluster.kept_nodes.get(name, by_default))


def _count_of(section: object) -> object:
    if not isinstance(section, Mapping):
        return UNKNOWN
    numbers = [section.get(key) for key in ("MaxCount", "MinCount")]
    if not all(str(number).isdigit() for number in numbers):
        return UNKNOWN
    return Count(*(int(str(number)) for number in numbers))


def _shrinks(before: object, after: object) -> bool:
    """Return whether named nodes go: some of all, of those kept, or of those that come with jobs."""
    assert isinstance(before, Count)
    assert isinstance(after, Count)
    more, kept = after.nodes - before.nodes, after.kept - before.kept
    return more < 0 or (kept != 0 and (more == 0 or more < kept))


def login_facts(name: str) -> Iterator[Fact]:
    """Yield facts of a pool of login nodes that is there before and after."""
    keys = ("LoginNodes", "Pools", name)

    def zone(then: Settings, cluster: ParallelClusterSettings) -> str:
        return cluster.login[name].availability_zone or then.availability_zones[0]

    def subnet(then: Settings, cluster: ParallelClusterSettings) -> object:
        existing = then.network.existing
        return existing.private_subnets.get(zone(then, cluster)) if existing else None

    yield Fact(
        f"parallelcluster.login.{name}.instance_type",
        f"the instance type of login pool '{name}'",
        (*keys, "InstanceType"),
        lambda _, cluster: cluster.login[name].instance_type,
    )
    yield Fact(
        f"parallelcluster.login.{name}.availability_zone",
        f"the subnet of login pool '{name}'",
        (*keys, "Networking", "SubnetIds"),
        subnet,
        known=lambda settings: settings.network.existing is not None,
        chosen=lambda then, cluster: subnet(then, cluster) or zone(then, cluster),
        part=_first,
    )


def _first(value: object) -> object:
    first = value[0] if isinstance(value, list) and value else None
    return first if isinstance(first, str) else UNKNOWN
