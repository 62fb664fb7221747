"""Rules on capacity: sources that a cluster supports, their ids, and reservations that several clusters use."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from pydantic import BaseModel

from catalog.cluster_kinds import CLUSTERS, KINDS, PARALLELCLUSTER, SAGEMAKER
from catalog.pool import CapacityBlock, Pool, Reservation, ReservationGroup, TrainingPlan
from catalog.regions import partition
from settings.deployment import Settings
from settings.parser.values import listed, shown
from settings.rules.deployment import REGION
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import Use, facts, uses

_RESERVATION = re.compile(r"cr-[0-9a-f]{17}")
# botocore: resource-groups GroupArnV2.
_RESOURCE_GROUP = re.compile(
    r"arn:aws(?:-[a-z]+)*:resource-groups:([a-z0-9-]*):[0-9]{12}:group/"
    r"(?:[a-zA-Z0-9_.-]{1,300}|[a-zA-Z0-9_.-]{1,150}/[a-z0-9]{26})"
)
# botocore: sagemaker TrainingPlanArn and TrainingPlanName.
_TRAINING_PLAN = re.compile(
    r"arn:aws[a-z-]*:sagemaker:([a-z0-9-]*):[0-9]{12}:training-plan/[a-zA-Z0-9](?:-*[a-zA-Z0-9]){0,63}"
)


@error("capacity-unsupported")
def _unsupported(subject: Subject) -> Iterator[Problem]:
    """A cluster that ignores a pool's capacity source would start other, dearer capacity or none."""
    for use in uses(subject.settings):
        kind = KINDS[use.cluster]
        if use.pool and use.pool.capacity.source not in kind.capacity:
            source = use.pool.capacity.source
            yield Problem(
                f"pools.{use.name}.capacity.source",
                source,
                f"pool '{use.name}': {use.cluster} does not support the capacity source '{source}'; it supports "
                f"{listed(kind.capacity)}",
                kind.capacity_hints.get(source, ""),
            )


@error("training-plan-cluster", depends_on=SAGEMAKER)
def _plan_elsewhere(subject: Subject) -> Iterator[Problem]:
    """Only SageMaker can use the capacity of a training plan."""
    used = {use.name for use in uses(subject.settings) if use.cluster in SAGEMAKER}
    for name, pool in subject.settings.pools.items():
        if isinstance(pool.capacity, TrainingPlan) and name not in used:
            yield Problem(
                f"pools.{name}.capacity.source",
                pool.capacity.source,
                f"pool '{name}': only a HyperPod cluster can use a training plan, and none lists this pool",
                f"add the pool to {listed(f'{cluster}.pools' for cluster in SAGEMAKER)}, or choose another source",
            )


@error("reservation-id")
def _reservation_ids(subject: Subject) -> Iterator[Problem]:
    """EC2 would refuse the id when nodes start, long after the deployment began."""
    for name, pool in subject.settings.pools.items():
        match pool.capacity:
            case Reservation(reservation_id=value) | CapacityBlock(reservation_id=value):
                if not _RESERVATION.fullmatch(value):
                    yield Problem(
                        f"pools.{name}.capacity.reservation_id",
                        value,
                        f"pool '{name}': '{shown(value)}' is not the id of a capacity reservation",
                        "an id is 'cr-' and 17 hexadecimal digits, as "
                        "'aws ec2 describe-capacity-reservations' prints it",
                    )


@error("resource-group-arn")
def _resource_groups(subject: Subject) -> Iterator[Problem]:
    """EC2 would refuse the ARN when nodes start, long after the deployment began."""
    for name, pool in subject.settings.pools.items():
        if isinstance(pool.capacity, ReservationGroup):
            yield from _arn(
                f"pools.{name}.capacity.resource_group_arn",
                pool.capacity.resource_group_arn,
                _RESOURCE_GROUP,
                f"pool '{name}'",
                "a resource group, 'arn:aws:resource-groups:REGION:ACCOUNT:group/NAME'",
            )


@error("training-plan-arn")
def _training_plans(subject: Subject) -> Iterator[Problem]:
    """SageMaker refuses a malformed ARN, and a cluster update with it, as a whole."""
    for name, pool in subject.settings.pools.items():
        if isinstance(pool.capacity, TrainingPlan):
            yield from _arn(
                f"pools.{name}.capacity.training_plan_arn",
                pool.capacity.training_plan_arn,
                _TRAINING_PLAN,
                f"pool '{name}'",
                "a training plan, 'arn:aws:sagemaker:REGION:ACCOUNT:training-plan/NAME'",
            )


def _arn(path: str, value: str, form: re.Pattern[str], what: str, kind: str) -> Iterator[Problem]:
    if not form.fullmatch(value):
        yield Problem(path, value, f"{what}: '{shown(value)}' is not the ARN of {kind}")


@error("arn-region", depends_on=("region",))
def _arn_regions(subject: Subject) -> Iterator[Problem]:
    """Capacity and secrets belong to one region and serve no other."""
    region = subject.settings.region
    if not REGION.fullmatch(region):
        return
    for path, arn in _arns(subject):
        parts = arn.split(":")
        if len(parts) > 5 and REGION.fullmatch(parts[3]) and parts[3] != region:
            yield Problem(
                path,
                arn,
                f"the ARN is of region '{parts[3]}', the deployment is in '{region}'",
                "use what is in the deployment's region",
            )


@error("arn-partition", depends_on=("region",))
def _arn_partitions(subject: Subject) -> Iterator[Problem]:
    """Partitions share nothing: a resource or role in an ARN of another partition does not exist here."""
    here = partition(subject.settings.region)
    for path, arn in _arns(subject):
        there = arn.split(":")[1]
        if here and there and there != here:
            yield Problem(
                path,
                arn,
                f"the ARN is of the partition '{shown(there)}', and '{subject.settings.region}' is in '{here}'",
                f"use what is in the deployment's region; its ARNs begin with 'arn:{here}:'",
            )


_FREE_TEXT = ("tags", "acknowledge")
"""Sections with free text."""


def _arns(subject: Subject) -> Iterator[tuple[str, str]]:
    """Yield every ARN of the configuration with its path, whichever section it is in."""
    for name in type(subject.settings).model_fields:
        if name not in _FREE_TEXT:
            yield from _arns_in(getattr(subject.settings, name), name)


def _arns_in(value: object, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case str() if value.startswith("arn:"):
            yield path, value
        case BaseModel():
            for name in type(value).model_fields:
                yield from _arns_in(getattr(value, name), f"{path}.{name}")
        case _ if is_dataclass(value):
            for field in fields(value):
                yield from _arns_in(getattr(value, field.name), f"{path}.{field.name}")
        case Mapping():
            for key, member in value.items():
                yield from _arns_in(member, f"{path}.{key}")
        case list() | tuple():
            for index, member in enumerate(value):
                yield from _arns_in(member, f"{path}.{index}")


@warning("capacity-not-offered")
def _usage_class(subject: Subject) -> Iterator[Problem]:
    """EC2 lists which types it sells on demand, as Spot and in Capacity Blocks.

    Source: DescribeInstanceTypes, SupportedUsageClasses; for types that it leaves out, the catalog's sources.
    """
    for name, pool in subject.settings.pools.items():
        found = facts(pool.instance_type)
        source = pool.capacity.source
        sold = ("on-demand", "spot", "capacity-block")
        if found and source in sold and source not in found.usage_classes:
            explicit = subject.settings.writes(name, "capacity")
            yield Problem(
                f"pools.{name}.capacity.source" if explicit else f"pools.{name}.instance_type",
                source,
                f"pool '{name}': EC2 does not list '{pool.instance_type}' as sold by '{source}', only by "
                f"{listed(found.usage_classes)}",
                "check that EC2 offers this capacity before you deploy",
            )


def _running_nodes(settings: Settings, cluster: str, pool: Pool) -> int:
    """Return how many nodes of a pool a cluster runs whether there are jobs or not."""
    return settings.clusters[cluster].running_nodes(pool)


def _by_reservation(settings: Settings) -> dict[str, list[tuple[Use, Pool]]]:
    """Return the uses of pools with reserved capacity, by what reserves it."""
    found: dict[str, list[tuple[Use, Pool]]] = defaultdict(list)
    for use in uses(settings):
        if use.pool and (name := use.pool.reserved_by):
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
            if (count := _running_nodes(settings, use.cluster, pool) if running else pool.nodes)
        }
        if sum(claims.values()) > has:
            yield found[-1][0], name, has, sum(claims.values()), ", ".join(claims)


@error("reservation-exceeded", too_strict=True, depends_on=("pools", *CLUSTERS))
def _exceeded(subject: Subject) -> Iterator[Problem]:
    """Reserved nodes that one cluster runs are unavailable to another, whose creation waits for them and fails.

    A reservation has the nodes of the pools that name it: a pool of two clusters is there once. Too strict where the
    reservation has more instances than its pools say.
    """
    for use, name, has, claimed, claims in _claims(subject.settings, running=True):
        yield Problem(
            use.path,
            use.name,
            f"clusters run {claimed} nodes of '{shown(name)}', whose pools have {has}: {claims}",
            f"list the pool in one cluster, {_run_none(subject.settings, name)}"
            "or give each cluster a pool with its share of the nodes",
        )


def _run_none(settings: Settings, name: str) -> str:
    """Return the advice to let a cluster run none, with the keys of the clusters that can; empty where none can."""
    keys: dict[str, None] = {}
    for use, pool in _by_reservation(settings)[name]:
        key = settings.clusters[use.cluster].key_of_no_nodes(pool)
        if key and _running_nodes(settings, use.cluster, pool):
            keys[f"{use.cluster}.{key}"] = None
    return f"let one of them run none by {listed(keys)}, " if keys else ""


@warning("reservation-contended", depends_on=("pools", *CLUSTERS))
def _contended(subject: Subject) -> Iterator[Problem]:
    """Clusters that start nodes of one reservation for jobs take them from each other: a job waits for another's."""
    exceeded = {name for _, name, *_ in _claims(subject.settings, running=True)}
    for use, name, has, claimed, claims in _claims(subject.settings, running=False):
        if name not in exceeded:
            yield Problem(
                use.path,
                use.name,
                f"clusters may start {claimed} nodes of '{shown(name)}', whose pools have {has}: {claims}",
                "acknowledge it if their jobs never run at the same time, or give each cluster a pool with its "
                "share of the nodes",
            )


@error("reservation-type", depends_on=("pools",))
def _types(subject: Subject) -> Iterator[Problem]:
    """A capacity reservation or block is of one instance type (EC2 API, CapacityReservation)."""
    first: dict[str, Pool] = {}
    for key in subject.settings.pools:
        pool = subject.settings.pools[key]
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
                f"({', '.join(map(shown, theirs))}) name the same reservation, which has one instance type and "
                "one source",
                "give one of them another reservation",
            )


@warning("creation-waits-for-nodes", depends_on=("pools", "parallelcluster"))
def _waits(subject: Subject) -> Iterator[Problem]:
    """The creation of a ParallelCluster waits for all nodes that always run, and fails as a whole without one.

    Source: the head node's recipe (aws-parallelcluster-cookbook, wait for static fleet capacity). It passes over nodes
    of a Capacity Block that has not begun, which are in maintenance until then, so blocks are left out.
    """
    cluster = subject.settings.parallelcluster
    for use in uses(subject.settings):
        if cluster is None or use.cluster != PARALLELCLUSTER.name or use.pool is None:
            continue
        count = cluster.running_nodes(use.pool)
        if not 0 < count <= use.pool.nodes or isinstance(use.pool.capacity, CapacityBlock | TrainingPlan):
            continue
        chosen = use.name in cluster.min_nodes
        yield Problem(
            f"parallelcluster.min_nodes.{use.name}" if chosen else use.path,
            count if chosen else use.name,
            f"pool '{use.name}': {count} nodes always run ({use.pool.capacity.source}), and the creation of the "
            "cluster fails if EC2 cannot start one of them",
            f"deploy first with 'min_nodes: {{{use.name}: 0}}' under 'parallelcluster', and raise it when a "
            "job has run; or acknowledge this if the capacity is certain",
        )


@warning("reservation-platform", depends_on=("pools", "parallelcluster"))
def _platform(subject: Subject) -> Iterator[Problem]:
    """A reservation is of one platform, and ParallelCluster refuses one of another than its operating system's.

    Source: aws-parallelcluster, constants.CAPACITY_RESERVATION_OS_MAP: RHEL's is its own, all others are Linux/UNIX.
    """
    cluster = subject.settings.parallelcluster
    if cluster is None or not cluster.image.os.startswith("rhel"):
        return
    for use in uses(subject.settings):
        if (
            use.cluster == PARALLELCLUSTER.name
            and use.pool
            and isinstance(use.pool.capacity, Reservation | CapacityBlock)
        ):
            yield Problem(
                use.path,
                use.name,
                f"pool '{use.name}': with '{cluster.image.os}' the reservation '{shown(use.pool.reserved_by)}' must "
                "have the platform 'Red Hat Enterprise Linux', which cannot be checked here",
                "'aws ec2 describe-capacity-reservations' prints InstancePlatform; acknowledge this if it is that one",
            )
