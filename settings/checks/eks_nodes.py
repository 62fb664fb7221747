"""Rules on the nodes of an EKS cluster: how many stand, what tells pools apart, quotas, reservations, storage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from catalog.eks import GROUP_NODES_QUOTA, GROUPS_QUOTA
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import uses
from settings.checks.shipping import in_images
from settings.parser.values import guess, listed, shown

SYSTEM = "system"
"""The name that the nodes which carry the cluster bear where others bear their pool's."""


@error("eks-scaling", leans_on=("eks.pools", "pools"))
def _scaling(subject: Subject) -> Iterator[Problem]:
    """A node group stands between its least and its most nodes, and its most is the pool's number."""
    eks = subject.settings.eks
    for name, scaling in eks.scaling.items() if eks else ():
        path = f"eks.scaling.{name}"
        pool = subject.settings.pools.get(name)
        if eks and name not in eks.pools:
            yield Problem(
                path,
                name,
                f"'eks.pools' does not list the pool '{shown(name)}'{guess(name, eks.pools)}",
                f"it lists {listed(eks.pools, 'and')}",
            )
        elif pool:
            desired = pool.nodes if scaling.desired is None else scaling.desired
            if desired > pool.nodes:
                yield Problem(
                    f"{path}.desired",
                    desired,
                    f"pool '{name}' has {pool.nodes} nodes, and {desired} are desired",
                    f"raise 'pools.{name}.nodes', or take fewer",
                )
            if scaling.minimum > desired:
                yield Problem(
                    f"{path}.minimum",
                    scaling.minimum,
                    f"pool '{name}': the least number of nodes, {scaling.minimum}, is more than the {desired} "
                    "that stand",
                    "lower 'minimum'",
                )


@error("eks-pool-name")
def _pool_name(subject: Subject) -> Iterator[Problem]:
    """The nodes that carry the cluster are called 'system' where others have their pool's name."""
    for use in uses(subject.settings):
        if use.cluster in ("eks", "hyperpod_eks") and use.name == SYSTEM:
            yield Problem(
                use.path, use.name, f"a pool of an EKS cluster cannot be named '{SYSTEM}'", "rename the pool"
            )


@warning("eks-type-shared", leans_on=("eks.pools", "pools"))
def _type_shared(subject: Subject) -> Iterator[Problem]:
    """A run asks for nodes by their instance type, so it may land on another pool's of the same type."""
    eks = subject.settings.eks
    if eks is None:
        return
    holders: dict[str, str] = {eks.system.instance_type: "the system nodes"}
    for use in uses(subject.settings):
        if use.cluster != "eks" or use.pool is None:
            continue
        kind = use.pool.instance_type
        if holders.get(kind, f"pool '{use.name}'") != f"pool '{use.name}'":
            yield Problem(
                use.path,
                use.name,
                f"pool '{use.name}' and {holders[kind]} are of one instance type, '{kind}': runs of the pool may "
                "land on either",
                "choose different types, or keep pools of one type on clusters of their own",
            )
        holders.setdefault(kind, f"pool '{use.name}'")


@warning("eks-quota", leans_on=("eks.pools", "pools"))
def _quotas(subject: Subject) -> Iterator[Problem]:
    """Quotas of EKS (User Guide, "Service quotas"): 30 node groups a cluster, 450 nodes a group; AWS raises both."""
    eks = subject.settings.eks
    groups = len(eks.pools) + 1 if eks else 0
    if groups > GROUPS_QUOTA:
        yield Problem(
            "eks.pools",
            groups - 1,
            f"{groups} node groups (pools, system nodes) are more than EKS allows at first, {GROUPS_QUOTA}",
            "ask for a higher quota before deploying, or use fewer, larger pools",
        )
    for use in uses(subject.settings):
        if use.cluster == "eks" and use.pool and use.pool.nodes > GROUP_NODES_QUOTA:
            yield Problem(
                f"pools.{use.name}.nodes",
                use.pool.nodes,
                f"pool '{use.name}' has {use.pool.nodes} nodes, more than EKS allows a node group at first, "
                f"{GROUP_NODES_QUOTA}",
                "ask for a higher quota before deploying, or divide the pool",
            )


@error("eks-shared-folder", leans_on=("storage",))
def _shared_folder(subject: Subject) -> Iterator[Problem]:
    """A run keeps checkpoints and records in a shared file system, which pods claim: the Lustre one."""
    if subject.settings.storage.lustre:
        return
    for shipping in in_images(subject.settings):
        if shipping.cluster in ("eks", "hyperpod_eks"):
            yield Problem(
                shipping.cluster_path,
                shipping.cluster,
                f"'{shown(shipping.wanted.workload)}' keeps its runs in a shared file system, and there is none",
                "add 'storage.lustre'",
            )


@error("reservation-zone", leans_on=("availability_zones",))
def _reservation_zone(subject: Subject) -> Iterator[Problem]:
    """A capacity reservation, and a capacity block with it, lies in one zone (EC2 User Guide, "capacity blocks")."""
    settings = subject.settings
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for name, pool in settings.pools.items():
        reservation = getattr(pool.capacity, "reservation_id", None)
        if reservation:
            zone = pool.availability_zone or settings.availability_zones[0]
            places[reservation].setdefault(zone, name)
            if len(places[reservation]) > 1 and places[reservation].get(zone) == name:
                others = [other for other in places[reservation] if other != zone]
                yield Problem(
                    f"pools.{name}" + (".availability_zone" if pool.availability_zone else ""),
                    zone,
                    f"pool '{name}' takes '{shown(reservation)}' in the zone '{zone}', and pool "
                    f"'{places[reservation][others[0]]}' in '{others[0]}': it lies in one of them",
                    "put the pools into the reservation's zone",
                )
