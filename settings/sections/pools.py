"""Settings of node pools: the instance type, the count, the zone and where the capacity comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from catalog.pool import (
    CapacityBlock,
    InterfaceType,
    OnDemand,
    Pool,
    Reservation,
    ReservationGroup,
    Spot,
    TrainingPlan,
)
from settings.parser.fields import FROM_MAPPING
from settings.sections.model import Model, NotBool

Capacity = Annotated[
    Annotated[OnDemand, FROM_MAPPING]
    | Annotated[Spot, FROM_MAPPING]
    | Annotated[Reservation, FROM_MAPPING]
    | Annotated[ReservationGroup, FROM_MAPPING]
    | Annotated[CapacityBlock, FROM_MAPPING]
    | Annotated[TrainingPlan, FROM_MAPPING],
    Field(discriminator="source"),
]
"""`catalog.pool.Capacity` as it is read: by its source."""


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
    interface_type: InterfaceType | None = None
    """How EFA interfaces are attached; by default as the cluster and the catalog say."""

    def noun(self, name: str, default_zone: str) -> Pool:
        """Return the pool that the rest of the application passes on: with its name, and always with a zone."""
        return Pool(
            name=name,
            instance_type=self.instance_type,
            nodes=self.nodes,
            availability_zone=self.availability_zone or default_zone,
            capacity=self.capacity,
            volume_gib=self.volume_gib,
            threads_per_core=self.threads_per_core,
            interface_type=self.interface_type,
        )
