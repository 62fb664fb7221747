"""The rule on addresses: every node of a zone must find room in the zone's private subnet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from catalog.addresses import RESERVED_ADDRESSES, plan
from catalog.endpoints import INTERFACE_ENDPOINTS
from catalog.interfaces import private_addresses
from catalog.pool import InterfaceType
from settings.checks.network import SMALLEST_PREFIX
from settings.checks.rule import Problem, Subject, error
from settings.checks.selection import CLUSTERS, facts, kubernetes, uses
from settings.deployment import Settings

_LAYOUTS: Mapping[str, InterfaceType] = {
    "hyperpod": "efa",
    "parallelcluster": "efa-only",
    "hyperpod_eks": "efa",
    "eks": "efa-only",
    "batch": "efa-only",
}
"""What a cluster attaches where a pool has no wish: HyperPod EFA that carries IP (botocore: ClusterInterfaceType),
ParallelCluster EFA beside it (aws-parallelcluster, templates/queues_stack.py)."""


def _demand(settings: Settings) -> dict[str, Counter[str]]:
    """Return how many addresses are wanted in each zone, by what wants them."""
    demand: dict[str, Counter[str]] = {zone: Counter() for zone in settings.availability_zones}
    for use in uses(settings):
        found = facts(use.pool.instance_type) if use.pool else None
        if use.pool and found and use.pool.availability_zone in demand:
            layout = use.pool.interface_type or _LAYOUTS[use.cluster]
            # A job's container in Batch has an interface of its own.
            batch = use.cluster == "batch"
            each = private_addresses(found, layout, spare=batch) + batch
            section = dict(kubernetes(settings)).get(use.cluster)
            each += section.pod_addresses_per_node if section else 0
            demand[use.pool.availability_zone][f"pool '{use.name}'"] += use.pool.nodes * each
    if settings.hyperpod:
        # The service may put them into any of the cluster's subnets; the first zone is always among them.
        first = demand[settings.availability_zones[0]]
        first["the controller"] += 1
        first["login nodes"] += settings.hyperpod.login.nodes if settings.hyperpod.login else 0
    if settings.parallelcluster:
        cluster, first_zone = settings.parallelcluster, settings.availability_zones[0]
        standing = [("the head node", cluster.head_node.availability_zone, 1)]
        standing += [(f"login pool '{n}'", p.availability_zone, p.nodes) for n, p in cluster.login.items()]
        for what, zone, count in standing:
            if (zone or first_zone) in demand:
                demand[zone or first_zone][what] += count
    for _, section in kubernetes(settings):
        # Spread over the zones: any of them may get one more.
        most = -(-section.system.nodes // len(settings.availability_zones))
        for wanted in demand.values():
            wanted["system nodes"] += most * (1 + section.pod_addresses_per_node)
    if settings.network.closed:
        services = {
            service
            for cluster in CLUSTERS
            if getattr(settings, cluster)
            for service in INTERFACE_ENDPOINTS[cluster]
        }
        for wanted in demand.values():
            wanted["interface endpoints"] += len(services)
    return demand


@error(
    "subnet-too-small",
    leans_on=("availability_zones", "network", "pools", *CLUSTERS),
)
def _too_small(subject: Subject) -> Iterator[Problem]:
    """A node takes an address for every interface that carries IP, and waits for ever where none is left.

    AWS keeps five addresses of each subnet. File systems take some more, which are not counted: FSx does
    not say how many.
    """
    settings = subject.settings
    network = settings.network
    if network.existing:
        return
    try:
        zones = plan(network.primary_cidr, network.secondary_cidrs, settings.availability_zones)
    except (ValueError, StopIteration, IndexError):
        # Ranges that cannot be divided have findings of their own.
        return
    demand = _demand(settings)
    for index, zone in enumerate(zones):
        wanted = demand[zone.availability_zone]
        if zone.private.prefixlen <= SMALLEST_PREFIX and wanted.total() > zone.private_addresses:
            parts = ", ".join(f"{what} {count}" for what, count in wanted.most_common(4) if count)
            given = bool(network.secondary_cidrs)
            yield Problem(
                f"network.secondary_cidrs.{index // 2}" if given else "network.secondary_cidrs",
                zone.private,
                f"the private subnet '{zone.private}' of zone '{zone.availability_zone}' has "
                f"{zone.private_addresses} addresses (AWS keeps {RESERVED_ADDRESSES}), and {wanted.total()} "
                f"are wanted: {parts}",
                "give it a larger range, take fewer nodes, or set 'interface_type: efa-only', "
                "which takes one address a node",
            )
