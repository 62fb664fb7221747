"""A node pool, and the union of ways to get its capacity, which the configuration is read into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from catalog.fields import COMPLETED, KEY, Bounds

InterfaceType = Literal["efa", "efa-only"]

DEFAULT_LAYOUT: InterfaceType = "efa-only"
"""The default layout of EFA interfaces, if neither the pool nor the kind of cluster sets one."""


@dataclass(frozen=True, slots=True)
class OnDemand:
    """Capacity that EC2 has at the moment, at the list price."""

    source: Literal["on-demand"] = field(default="on-demand", kw_only=True)


@dataclass(frozen=True, slots=True)
class Spot:
    """Spare capacity at a lower price, which EC2 may take back with two minutes' notice."""

    source: Literal["spot"] = field(default="spot", kw_only=True)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A targeted On-Demand Capacity Reservation (`cr-...`): only requests that name it may use it."""

    source: Literal["reservation"] = field(default="reservation", kw_only=True)
    reservation_id: str
    """Id of the capacity reservation, `cr-` and 17 hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class ReservationGroup:
    """A resource group of capacity reservations, by ARN: EC2 picks one that has room."""

    source: Literal["reservation-group"] = field(default="reservation-group", kw_only=True)
    resource_group_arn: str
    """ARN of the resource group, `arn:aws:resource-groups:REGION:ACCOUNT:group/NAME`."""


@dataclass(frozen=True, slots=True)
class CapacityBlock:
    """An EC2 Capacity Block for ML (`cr-...`): paid ahead for a window of time, in one zone."""

    source: Literal["capacity-block"] = field(default="capacity-block", kw_only=True)
    reservation_id: str
    """Id of the block's capacity reservation, `cr-` and 17 hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """A SageMaker flexible training plan, by ARN: reserved capacity that only SageMaker can use."""

    source: Literal["training-plan"] = field(default="training-plan", kw_only=True)
    training_plan_arn: str
    """ARN of the plan, `arn:aws:sagemaker:REGION:ACCOUNT:training-plan/NAME`."""


Capacity = OnDemand | Spot | Reservation | ReservationGroup | CapacityBlock | TrainingPlan
"""The capacity source of nodes. Never an id alone: ids of blocks and reservations look alike."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes of one instance type in one zone, from one capacity source: written once, used by any cluster.

    One zone, because EFA traffic does not leave an Availability Zone and collectives suffer from the distance.
    """

    name: Annotated[str, KEY]
    """Name of the pool."""
    instance_type: str
    """EC2 instance type of every node, as in the catalog (without SageMaker's `ml.`)."""
    nodes: Annotated[int, Bounds(1, 6758)]
    """Number of nodes. The limit is that of a SageMaker HyperPod instance group."""
    availability_zone: Annotated[str, COMPLETED]
    """The one zone of the nodes; by default the first of `availability_zones`."""
    capacity: Capacity = OnDemand()
    """Source of the nodes."""
    volume_gib: Annotated[int, Bounds(1, 16384)] = 500
    """Size of each node's data volume in GiB."""
    threads_per_core: Literal[1, 2] | None = None
    """1 switches hyper-threads off; by default as the instance type has it."""
    interface_type: InterfaceType | None = None
    """Type of the EFA interfaces; by default as the cluster and the catalog say."""

    @property
    def reserved_by(self) -> str:
        """The id or ARN of its reservation; empty without one."""
        match self.capacity:
            case Reservation(reservation_id=name) | CapacityBlock(reservation_id=name):
                return name
            case ReservationGroup(resource_group_arn=name) | TrainingPlan(training_plan_arn=name):
                return name
        return ""
