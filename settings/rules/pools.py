"""Rules on pools: their names, the clusters and partitions that they are in, their instance types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from catalog.cluster_kinds import CLUSTERS
from catalog.instance_facts import InstanceFacts
from catalog.instances import INSTANCES, UnknownInstanceTypeError
from catalog.spelling import nearest
from settings.parser.values import guess, listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import facts, hyperpod_instance_types, instance_types, uses

_POOL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


@error("pool-name")
def _pool_names(subject: Subject) -> Iterator[Problem]:
    """A pool's name becomes a HyperPod instance group, a Slurm partition and part of construct ids.

    HyperPod's groups take at most 63 letters, digits and single dashes (botocore: ClusterInstanceGroupName).
    """
    for name in subject.settings.pools:
        if not _POOL.fullmatch(name):
            yield Problem(
                f"pools.{name}",
                name,
                f"the pool name '{shown(name)}' is not 1 to 63 lower case letters, digits and dashes that "
                "begin with a letter and do not end with a dash",
            )


@error("pool-names-alike")
def _pool_names_alike(subject: Subject) -> Iterator[Problem]:
    """Construct ids have no dashes, so names that differ by one before a digit would be one resource."""
    first: dict[str, str] = {}
    for name in subject.settings.pools:
        other = first.setdefault(re.sub(r"-+(?=\d)", "", name), name)
        if other != name:
            yield Problem(
                f"pools.{name}",
                name,
                f"the pool names '{shown(other)}' and '{shown(name)}' differ only by a dash before a digit",
                "give one of them another name",
            )


@error("pool-unknown", depends_on=("pools.{value}",))
def _pool_unknown(subject: Subject) -> Iterator[Problem]:
    """A cluster's pools are those of the section 'pools'."""
    pools = subject.settings.pools
    for use in uses(subject.settings):
        if use.name not in pools:
            yield Problem(
                use.path,
                use.name,
                f"there is no pool '{shown(use.name)}'{guess(use.name, pools)}",
                f"pools: {listed(pools, 'and')}" if pools else "describe it under 'pools'",
            )


@error("pool-repeated")
def _pool_repeated(subject: Subject) -> Iterator[Problem]:
    """Each pool becomes one instance group or compute resource, and those of a cluster have different names."""
    seen: set[tuple[str, str]] = set()
    for use in uses(subject.settings):
        if (use.cluster, use.name) in seen:
            yield Problem(
                use.path, use.name, f"{use.cluster} lists the pool '{shown(use.name)}' twice", "remove one"
            )
        seen.add((use.cluster, use.name))


@warning("pool-unused", depends_on=CLUSTERS)
def _pool_unused(subject: Subject) -> Iterator[Problem]:
    """A pool that no cluster lists starts no node; its reservation is paid for nevertheless."""
    used = {use.name for use in uses(subject.settings)}
    for name in subject.settings.pools:
        if name not in used:
            yield Problem(
                f"pools.{name}",
                name,
                f"no cluster uses the pool '{shown(name)}'",
                "add it to a cluster's 'pools', or remove it",
            )


@error("partition-pool", depends_on=tuple(f"{cluster}.pools" for cluster in CLUSTERS))
def _partition_pools(subject: Subject) -> Iterator[Problem]:
    """A partition is given to a pool of this cluster; for another one it does nothing."""
    settings = subject.settings
    for cluster, section in settings.clusters.items():
        for pool, partition in getattr(section, "partitions", {}).items():
            if pool not in section.pools:
                yield Problem(
                    f"{cluster}.partitions.{pool}",
                    partition,
                    f"'{cluster}.pools' does not list the pool '{shown(pool)}'",
                    f"it lists {listed(section.pools, 'and')}",
                )


@error("instance-type-unknown")
def _unknown(subject: Subject) -> Iterator[Problem]:
    """Network interfaces, Slurm's description of a node and more are derived from the catalog's facts."""
    for path, name, what in instance_types(subject.settings):
        if facts(name) is None:
            message, _, hint = _unknown_message(name).partition("; ")
            yield Problem(path, name, f"{what}: {message}", hint)


@lru_cache
def _unknown_message(name: str) -> str:
    # The catalog compares with every type it has, and pools often share a type.
    return str(UnknownInstanceTypeError(shown(name)))


def _offered_nearest(found: InstanceFacts) -> tuple[str, ...]:
    offered = [name for name, other in INSTANCES.items() if other.hyperpod]
    kin = [name for name in offered if INSTANCES[name].is_accelerated == found.is_accelerated]
    return nearest(found.name, kin, cutoff=0.5)


@error("instance-type-hyperpod", too_strict=True)
def _not_on_hyperpod(subject: Subject) -> Iterator[Problem]:
    """SageMaker HyperPod offers a list of types of its own (botocore: ClusterInstanceType).

    Too strict where SageMaker has added a type since the catalog was refreshed.
    """
    for path, name, what in hyperpod_instance_types(subject.settings):
        found = facts(name)
        if found and not found.hyperpod:
            near = _offered_nearest(found)
            yield Problem(
                path,
                name,
                f"{what}: HyperPod does not offer the instance type '{name}'",
                f"it offers {listed(near)} among others" if near else "",
            )


@error("interface-without-efa")
def _interface(subject: Subject) -> Iterator[Problem]:
    """The interface type is the way in which EFA is attached; on a type without EFA the API refuses it."""
    for name, pool in subject.settings.pools.items():
        found = facts(pool.instance_type)
        if pool.interface_type and found and not found.supports_efa:
            yield Problem(
                f"pools.{name}.interface_type",
                pool.interface_type,
                f"pool '{name}': the instance type '{pool.instance_type}' has no EFA",
                "remove 'interface_type'",
            )


@error("threads-per-core")
def _threads(subject: Subject) -> Iterator[Problem]:
    """EC2 accepts only the threads per core that it lists for a type (DescribeInstanceTypes, VCpuInfo)."""
    for name, pool in subject.settings.pools.items():
        found = facts(pool.instance_type)
        if pool.threads_per_core is None or found is None:
            continue
        # EC2 names no choice for some types; then only what their cores cannot do is certain.
        valid = found.valid_threads_per_core or tuple(range(1, found.threads_per_core + 1))
        if pool.threads_per_core not in valid:
            yield Problem(
                f"pools.{name}.threads_per_core",
                pool.threads_per_core,
                f"pool '{name}': cores of the type '{pool.instance_type}' run {listed(valid)} threads, "
                f"not {pool.threads_per_core}",
                "remove 'threads_per_core'",
            )
