"""Rules on where nodes come from: sources that a cluster can honour, and the form of their ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from catalog.regions import partition
from settings.checks.names import REGION
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import HYPERPOD, facts, uses
from settings.parser.values import listed, shown
from settings.sections import pools as model

HONOURED: Mapping[str, tuple[str, ...]] = {
    # botocore: ClusterInstanceGroupSpecification has TrainingPlanArn and CapacityRequirements (Spot,
    # OnDemand), and no reservation of any kind.
    "hyperpod": ("on-demand", "spot", "training-plan"),
    "hyperpod_eks": ("on-demand", "spot", "training-plan"),
    # aws-parallelcluster, schemas: CapacityType (ONDEMAND, SPOT, CAPACITY_BLOCK) and CapacityReservationTarget.
    "parallelcluster": ("on-demand", "spot", "reservation", "reservation-group", "capacity-block"),
    # botocore: eks CapacityTypes (ON_DEMAND, SPOT, CAPACITY_BLOCK); the launch template targets reservations.
    "eks": ("on-demand", "spot", "reservation", "reservation-group", "capacity-block"),
    # Batch User Guide, "Compute environment considerations for MNP": no Spot; the launch template names reservations.
    "batch": ("on-demand", "reservation", "reservation-group", "capacity-block"),
}
"""The sources of capacity that each cluster's service can be asked for."""

_RESERVE = "HyperPod cannot be pointed at EC2 reservations: reserve by a training plan"
_BLOCK = "for HyperPod buy a SageMaker training plan; a Capacity Block is for clusters on EC2"
_PLAN = "only SageMaker can use a training plan: list the pool under 'hyperpod.pools', or reserve by a Capacity Block"
_SPOT = "Batch runs jobs of several nodes on no Spot capacity; choose on-demand, or a cluster that takes Spot"
_WAYS_OUT = {
    ("hyperpod", "reservation"): _RESERVE,
    ("hyperpod", "reservation-group"): _RESERVE,
    ("hyperpod", "capacity-block"): _BLOCK,
    ("hyperpod_eks", "reservation"): _RESERVE,
    ("hyperpod_eks", "reservation-group"): _RESERVE,
    ("hyperpod_eks", "capacity-block"): _BLOCK,
    ("parallelcluster", "training-plan"): _PLAN,
    ("eks", "training-plan"): _PLAN,
    ("batch", "training-plan"): _PLAN,
    ("batch", "spot"): _SPOT,
}
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
        honoured = HONOURED[use.cluster]
        if use.pool and use.pool.capacity.source not in honoured:
            source = use.pool.capacity.source
            yield Problem(
                f"pools.{use.name}.capacity.source",
                source,
                f"pool '{use.name}': {use.cluster} cannot honour the capacity source '{source}', it takes "
                f"{listed(honoured)}",
                _WAYS_OUT.get((use.cluster, source), ""),
            )


@error("training-plan-cluster", leans_on=("hyperpod", "hyperpod_eks"))
def _plan_elsewhere(subject: Subject) -> Iterator[Problem]:
    """Only SageMaker can use the capacity of a training plan."""
    used = {use.name for use in uses(subject.settings) if use.cluster in HYPERPOD}
    for name, pool in subject.settings.pools.items():
        if isinstance(pool.capacity, model.TrainingPlan) and name not in used:
            yield Problem(
                f"pools.{name}.capacity.source",
                pool.capacity.source,
                f"pool '{name}': only a HyperPod cluster can use a training plan, and none lists this pool",
                "add the pool to 'hyperpod.pools' or 'hyperpod_eks.pools', or choose another source",
            )


@error("reservation-id")
def _reservation_ids(subject: Subject) -> Iterator[Problem]:
    """EC2 would refuse the id when nodes start, long after the deployment began."""
    for name, pool in subject.settings.pools.items():
        match pool.capacity:
            case model.Reservation(reservation_id=value) | model.CapacityBlock(reservation_id=value):
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
        if isinstance(pool.capacity, model.ReservationGroup):
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
        if isinstance(pool.capacity, model.TrainingPlan):
            yield from _arn(
                f"pools.{name}.capacity.training_plan_arn",
                pool.capacity.training_plan_arn,
                _TRAINING_PLAN,
                f"pool '{name}'",
                "a training plan, 'arn:aws:sagemaker:REGION:ACCOUNT:training-plan/NAME'",
            )


def _arn(path: str, value: str, form: re.Pattern[str], what: str, wanted: str) -> Iterator[Problem]:
    if not form.fullmatch(value):
        yield Problem(path, value, f"{what}: '{shown(value)}' is not the ARN of {wanted}")


@error("arn-region", leans_on=("region",))
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


@error("arn-partition", leans_on=("region",))
def _arn_partitions(subject: Subject) -> Iterator[Problem]:
    """Partitions share nothing: what an ARN of another one names, roles of people too, does not exist here."""
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
"""Sections whose values are people's own words."""


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
            explicit = "capacity" in pool.model_fields_set
            yield Problem(
                f"pools.{name}.capacity.source" if explicit else f"pools.{name}.instance_type",
                source,
                f"pool '{name}': EC2 does not list '{pool.instance_type}' as sold by '{source}', only by "
                f"{listed(found.usage_classes)}",
                "check that this capacity exists before it is waited for",
            )
