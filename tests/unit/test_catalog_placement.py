"""Cluster placement groups, for each source of capacity."""

from __future__ import annotations

import typing

import pytest

from catalog import pool
from catalog.instances import UnknownInstanceTypeError
from catalog.placement import placement
from catalog.pool import Capacity, Pool


def make(instance_type: str, nodes: int, capacity: Capacity) -> Pool:
    """Return a pool in some zone."""
    return Pool("gpu", instance_type, nodes, "us-west-2a", capacity)


@pytest.mark.parametrize(
    ("instance_type", "nodes", "capacity", "grouped", "reason"),
    [
        ("p5.48xlarge", 2, pool.OnDemand(), True, "side by side"),
        ("hpc7a.96xlarge", 16, pool.OnDemand(), True, "side by side"),
        ("p5.48xlarge", 1, pool.OnDemand(), False, "single node"),
        ("g5.xlarge", 8, pool.OnDemand(), False, "'g5.xlarge' has no EFA"),
        ("p5.48xlarge", 8, pool.Spot(), False, "Spot"),
        ("p5.48xlarge", 8, pool.Reservation("cr-0123456789abcdef0"), False, "reservation"),
        (
            "p5.48xlarge",
            8,
            pool.ReservationGroup("arn:aws:resource-groups:::group/g"),
            False,
            "reservations",
        ),
        ("p5.48xlarge", 8, pool.CapacityBlock("cr-0123456789abcdef0"), False, "capacity block"),
        ("p5.48xlarge", 8, pool.TrainingPlan("arn:aws:sagemaker:::training-plan/p"), False, "training plan"),
    ],
)
def test_placement(instance_type: str, nodes: int, capacity: Capacity, grouped: bool, reason: str) -> None:
    decided = placement(make(instance_type, nodes, capacity))
    assert decided.cluster_group is grouped
    assert reason in decided.reason


def test_every_source_of_capacity_is_decided() -> None:
    arguments = {pool.Reservation: "cr-1", pool.ReservationGroup: "arn", pool.CapacityBlock: "cr-1"}
    for kind in typing.get_args(Capacity):
        arguments_ = [arguments.get(kind, "arn")] if kind not in {pool.OnDemand, pool.Spot} else []
        assert placement(make("p5.48xlarge", 2, kind(*arguments_))).reason


def test_unknown_type_is_an_error() -> None:
    with pytest.raises(UnknownInstanceTypeError):
        placement(make("p5.47xlarge", 2, pool.OnDemand()))
