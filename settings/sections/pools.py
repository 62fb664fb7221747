"""Settings of node pools: the instance type, the count, the zone and where the capacity comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from catalog import pool as nouns
from settings.sections.model import Model, NotBool


class OnDemand(Model):
    """Capacity that EC2 has at the moment."""

    source: Literal["on-demand"] = "on-demand"


class Spot(Model):
    """Spare capacity that EC2 may take back."""

    source: Literal["spot"]


class Reservation(Model):
    """A targeted On-Demand Capacity Reservation."""

    source: Literal["reservation"]
    reservation_id: str
    """Id of the capacity reservation, `cr-` and 17 hexadecimal digits."""


class ReservationGroup(Model):
    """A resource group of capacity reservations."""

    source: Literal["reservation-group"]
    resource_group_arn: str
    """ARN of the resource group, `arn:aws:resource-groups:REGION:ACCOUNT:group/NAME`."""


class CapacityBlock(Model):
    """An EC2 Capacity Block for ML."""

    source: Literal["capacity-block"]
    reservation_id: str
    """Id of the block's capacity reservation, `cr-` and 17 hexadecimal digits."""


class TrainingPlan(Model):
    """A SageMaker flexible training plan."""

    source: Literal["training-plan"]
    training_plan_arn: str
    """ARN of the plan, `arn:aws:sagemaker:REGION:ACCOUNT:training-plan/NAME`."""


Capacity = Annotated[
    OnDemand | Spot | Reservation | ReservationGroup | CapacityBlock | TrainingPlan,
    Field(discriminator="source"),
]


class PoolSettings(Model):
    """A node pool, written once and used by any cluster."""

    instance_type: str
    """EC2 instance type of every node, as in the catalog (without SageMaker's `ml.`)."""
    nodes: int = Field(ge=1, le=6758)
    """Number of nodes. The limit is that of a SageMaker HyperPod instance group."""
    availability_zone: str | None = None
    """The one zone of the nodes; by default the first of `availability_zones`."""
    capacity: Capacity = OnDemand()
    """Where the nodes come from."""
    volume_gib: int = Field(default=500, ge=1, le=16384)
    """Size of each node's data volume in GiB."""
    threads_per_core: Annotated[Literal[1, 2], NotBool] | None = None
    """1 switches hyper-threads off; by default as the instance type has it."""
    interface_type: Literal["efa", "efa-only"] | None = None
    """How EFA interfaces are attached; by default as the cluster and the catalog say."""

    def noun(self, name: str, default_zone: str) -> nouns.Pool:
        """Return the pool that the rest of the application passes on."""
        return nouns.Pool(
            name=name,
            instance_type=self.instance_type,
            nodes=self.nodes,
            availability_zone=self.availability_zone or default_zone,
            capacity=_capacity_noun(self.capacity),
            volume_gib=self.volume_gib,
            threads_per_core=self.threads_per_core,
            interface_type=self.interface_type,
        )


def _capacity_noun(capacity: Capacity) -> nouns.Capacity:
    match capacity:
        case OnDemand():
            return nouns.OnDemand()
        case Spot():
            return nouns.Spot()
        case Reservation():
            return nouns.Reservation(capacity.reservation_id)
        case ReservationGroup():
            return nouns.ReservationGroup(capacity.resource_group_arn)
        case CapacityBlock():
            return nouns.CapacityBlock(capacity.reservation_id)
        case TrainingPlan():
            return nouns.TrainingPlan(capacity.training_plan_arn)
