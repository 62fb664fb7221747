"""Rules on reserved capacity: what clusters take of it together, and nodes that a cluster waits for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from catalog.pool import CapacityBlock, Pool, Reservation, ReservationGroup, TrainingPlan
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import Use, uses
from settings.deployment import Settings
from settings.parser.values import listed, shown


def reserved_id(pool: Pool) -> str:
    """Return the id or ARN of what a pool's capacity is reserved by; empty where nothing is reserved."""
    match pool.capacity:
        case Reservation(reservation_id=name) | CapacityBlock(reservation_id=name):
            return name
        case ReservationGroup(resource_group_arn=name) | TrainingPlan(training_plan_arn=name):
            return name
    return ""


def running_nodes(settings: Settings, cluster: str, pool: Pool) -> int:
    """Return how many nodes of a pool a cluster runs whether there are jobs or not."""
    match cluster:
        case "parallelcluster" if settings.parallelcluster:
            by_default = pool.nodes if reserved_id(pool) else 0
            return settings.parallelcluster.kept_nodes.get(pool.name, by_default)
        case "batch" if settings.batch:
            return settings.batch.kept_nodes.get(pool.name, 0)
        case "eks" if settings.eks and pool.name in settings.eks.scaling:
            desired = settings.eks.scaling[pool.name].desired
            return pool.nodes if desired is None else desired
        case "hyperpod_eks" if settings.hyperpod_eks and pool.name in settings.hyperpod_eks.autoscaled_pools:
            return 0
    return pool.nodes


def _by_reservation(settings: Settings) -> dict[str, list[tuple[Use, Pool]]]:
    """Return the uses of pools with reserved capacity, by what reserves it."""
    found: dict[str, list[tuple[Use, Pool]]] = defaultdict(list)
    for use in uses(settings):
        if use.pool and (name := reserved_id(use.pool)):
            found[name].append((use, use.pool))
    return found


def _claims(settings: Settings, *, running: bool) -> Iterator[tuple[Use, str, int, int, str]]:
    """Yield each reservation of which clusters claim more than its pools' nodes.

    With the last use of a pool, the reservation, what it has, what is claimed, and the claims in words. `running`
    counts nodes that run in any case, otherwise all that clusters may start.
    """
    for name, found in _by_reservation(settings).items():
        has = sum({pool.name: pool.nodes for _, pool in found}.values())
        claims = {
            f"{use.cluster} {count} (pool '{shown(pool.name)}')": count
            for use, pool in found
            if (count := running_nodes(settings, use.cluster, pool) if running else pool.nodes)
        }
        if sum(claims.values()) > has:
            yield found[-1][0], name, has, sum(claims.values()), ", ".join(claims)


@error(
    "reservation-exceeded", too_strict=True, leans_on=("pools", "eks", "batch", "parallelcluster", "hyperpod")
)
def _exceeded(subject: Subject) -> Iterator[Problem]:
    """Reserved nodes that one cluster runs are not there for another, whose creation waits for them and fails.

    A reservation has the nodes of the pools that name it: a pool of two clusters is there once. Too strict where the
    reservation has more instances than its pools say.
    """
    for use, name, has, claimed, claims in _claims(subject.settings, running=True):
        yield Problem(
            use.path,
            use.name,
            f"clusters run {claimed} nodes of '{shown(name)}', whose pools have {has}: {claims}",
            f"list the pool in one cluster, {_run_none(subject.settings, name)}"
            "or make a pool for each with its part of the nodes",
        )


_BLOCK_KEYS = {
    "batch": "batch.kept_nodes",
    "eks": "eks.scaling",
    "hyperpod_eks": "hyperpod_eks.autoscaled_pools",
}
_RUN_NONE = _BLOCK_KEYS | {"parallelcluster": "parallelcluster.kept_nodes"}
"""Keys by which a cluster runs no nodes without jobs; ParallelCluster always runs all nodes of a Capacity Block."""


def _run_none(settings: Settings, name: str) -> str:
    """Return the advice to let a cluster run none, with the keys of the clusters that can; empty where none can."""
    keys: dict[str, None] = {}
    for use, pool in _by_reservation(settings)[name]:
        known = _BLOCK_KEYS if isinstance(pool.capacity, CapacityBlock) else _RUN_NONE
        if use.cluster in known and running_nodes(settings, use.cluster, pool):
            keys[known[use.cluster]] = None
    return f"let one of them run none by {listed(keys)}, " if keys else ""


@warning("reservation-contended", leans_on=("pools", "eks", "batch", "parallelcluster", "hyperpod"))
def _contended(subject: Subject) -> Iterator[Problem]:
    """Clusters that start nodes of one reservation for jobs take them from each other: a job waits for another's."""
    exceeded = {name for _, name, *_ in _claims(subject.settings, running=True)}
    for use, name, has, claimed, claims in _claims(subject.settings, running=False):
        if name not in exceeded:
            yield Problem(
                use.path,
                use.name,
                f"clusters may start {claimed} nodes of '{shown(name)}', whose pools have {has}: {claims}",
                "acknowledge it where jobs take turns, or make a pool for each cluster with its part of the nodes",
            )


@error("reservation-type", leans_on=("pools",))
def _types(subject: Subject) -> Iterator[Problem]:
    """A capacity reservation or block is of one instance type (EC2 API, CapacityReservation)."""
    first: dict[str, Pool] = {}
    for key in subject.settings.pools:
        pool = subject.settings.pool(key)
        if not isinstance(pool.capacity, Reservation | CapacityBlock):
            continue
        name = pool.capacity.reservation_id
        other = first.setdefault(name, pool)
        mine, theirs = ((each.instance_type, each.capacity.source) for each in (pool, other))
        if mine != theirs:
            yield Problem(
                f"pools.{key}.capacity.reservation_id",
                name,
                f"pool '{key}' ({', '.join(map(shown, mine))}) and pool '{other.name}' "
                f"({', '.join(map(shown, theirs))}) name one reservation, which is of one type and kind",
                "give one of them another reservation",
            )


@warning("creation-waits-for-nodes", leans_on=("pools", "parallelcluster"))
def _waits(subject: Subject) -> Iterator[Problem]:
    """The creation of a ParallelCluster waits for all nodes that always run, and fails as a whole without one.

    Source: the head node's recipe (aws-parallelcluster-cookbook, wait for static fleet capacity). It passes over nodes
    of a Capacity Block that has not begun, which are in maintenance until then, so blocks are left out.
    """
    cluster = subject.settings.parallelcluster
    for use in uses(subject.settings):
        if cluster is None or use.cluster != "parallelcluster" or use.pool is None:
            continue
        count = running_nodes(subject.settings, use.cluster, use.pool)
        if not 0 < count <= use.pool.nodes or isinstance(use.pool.capacity, CapacityBlock | TrainingPlan):
            continue
        chosen = use.name in cluster.kept_nodes
        yield Problem(
            f"parallelcluster.kept_nodes.{use.name}" if chosen else use.path,
            count if chosen else use.name,
            f"pool '{use.name}': {count} nodes always run ({use.pool.capacity.source}), and the creation of the "
            "cluster fails as a whole where EC2 cannot start one of them",
            f"deploy a first time with 'kept_nodes: {{{use.name}: 0}}' under 'parallelcluster', and raise it when a "
            "job has run; or acknowledge this where the capacity is known to be there",
        )


@warning("reservation-platform", leans_on=("pools", "parallelcluster"))
def _platform(subject: Subject) -> Iterator[Problem]:
    """A reservation is of one platform, and ParallelCluster refuses one of another than its operating system's.

    Source: aws-parallelcluster, constants.CAPACITY_RESERVATION_OS_MAP: RHEL's is its own, all others are Linux/UNIX.
    """
    cluster = subject.settings.parallelcluster
    if cluster is None or not cluster.image.os.startswith("rhel"):
        return
    for use in uses(subject.settings):
        if (
            use.cluster == "parallelcluster"
            and use.pool
            and isinstance(use.pool.capacity, Reservation | CapacityBlock)
        ):
            yield Problem(
                use.path,
                use.name,
                f"pool '{use.name}': with '{cluster.image.os}' the reservation '{shown(reserved_id(use.pool))}' must "
                "be of the platform 'Red Hat Enterprise Linux', which is not known here",
                "'aws ec2 describe-capacity-reservations' prints InstancePlatform; acknowledge this where it agrees",
            )
