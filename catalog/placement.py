"""Cluster placement groups: the pools whose nodes belong into one."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.instances import instance
from catalog.pool import (
    CapacityBlock,
    OnDemand,
    Pool,
    Reservation,
    ReservationGroup,
    Spot,
    TrainingPlan,
)

_REASONS: dict[type, str] = {
    Reservation: "a reservation has its own placement; a group beside it makes launches fail for capacity",
    ReservationGroup: "its reservations have their own placement; a group beside them makes launches fail",
    CapacityBlock: "a capacity block is placed close together by itself and refuses a group",
    TrainingPlan: "SageMaker places the capacity of a training plan",
    Spot: "a group narrows the little capacity that Spot has",
}


@dataclass(frozen=True, slots=True)
class Placement:
    """The decision whether a pool's nodes go into a cluster placement group, with its reason."""

    cluster_group: bool
    reason: str


def placement(pool: Pool) -> Placement:
    """Decide whether a pool gets a cluster placement group: on-demand, with EFA, more than one node.

    Source: predecessor repository (awslabs/awsome-distributed-ai), ParallelCluster README and PCS templates:
    a group for on-demand EFA nodes, none with a reservation given by AWS or a capacity block, where the two
    conflict and the launch ends in "insufficient capacity". A reservation inside a group of one's own needs that
    group at launch, which a pool cannot name.

    Raises:
        UnknownInstanceTypeError: the catalog does not have the pool's instance type.
    """
    facts = instance(pool.instance_type)
    if not isinstance(pool.capacity, OnDemand):
        return Placement(False, _REASONS[type(pool.capacity)])
    if not facts.supports_efa:
        return Placement(False, f"'{facts.name}' has no EFA, so the distance between nodes matters little")
    if pool.nodes < 2:
        return Placement(False, "a single node needs no placement group")
    return Placement(True, "on-demand nodes with EFA run collectives best side by side")
