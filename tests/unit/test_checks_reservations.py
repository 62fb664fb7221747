"""Rules on reserved capacity: one reservation for several clusters, and nodes that a creation waits for."""

from __future__ import annotations

from typing import Any

import pytest

from settings.deployment import Settings
from settings.rules import check
from tests.unit.configuration import GROUP, PLAN, changed, found

BLOCK = {"source": "capacity-block", "reservation_id": "cr-0123456789abcdef0"}
RESERVATION = {"source": "reservation", "reservation_id": "cr-0123456789abcdef0"}
OTHER = {"source": "reservation", "reservation_id": "cr-0123456789abcdef1"}
P5: dict[str, Any] = {"instance_type": "p5.48xlarge", "nodes": 16, "capacity": BLOCK}
BASE: dict[str, Any] = {"hyperpod": None, "pools": {"gpu": P5}}
BOTH = BASE | {"eks.pools": ["gpu"], "batch.pools": ["gpu"]}
EXCEEDED = {("reservation-exceeded", "batch.pools.0")}
CONTENDED = {("reservation-contended", "batch.pools.0")}

# An EKS cluster that nobody has access to has findings of its own.
ON_RESERVATIONS = {
    *("reservation-exceeded", "reservation-contended", "reservation-type", "reservation-platform"),
    "creation-waits-for-nodes",
}

CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    (BASE | {"eks.pools": ["gpu"]}, set()),
    (BASE | {"batch.pools": ["gpu"], "batch.min_nodes": {"gpu": 16}}, set()),
    # The EKS cluster runs all 16 nodes of the block.
    (BOTH | {"batch.min_nodes": {"gpu": 16}}, EXCEEDED),
    (BOTH | {"batch.min_nodes": {"gpu": 1}}, EXCEEDED),
    (BOTH, CONTENDED),
    (BOTH | {"eks.scaling": {"gpu": {"desired": 8}}, "batch.min_nodes": {"gpu": 8}}, CONTENDED),
    (BOTH | {"eks.scaling": {"gpu": {"desired": 8}}, "batch.min_nodes": {"gpu": 9}}, EXCEEDED),
    (BOTH | {"eks.scaling": {"gpu": {"desired": 0}}}, CONTENDED),
    # Pools of one reservation have a part of it each.
    (
        BASE | {"pools": {"gpu": P5, "more": P5}, "eks.pools": ["gpu"], "batch.pools": ["more"]},
        set(),
    ),
    (
        BASE
        | {
            "pools": {"gpu": P5, "more": P5 | {"nodes": 2}},
            "eks.pools": ["gpu", "more"],
            "batch.pools": ["gpu"],
            "batch.min_nodes": {"gpu": 1},
        },
        EXCEEDED,
    ),
    # What is not reserved comes from EC2 for each cluster.
    (
        BOTH | {"pools": {"gpu": P5 | {"capacity": {"source": "on-demand"}}}, "batch.min_nodes": {"gpu": 16}},
        set(),
    ),
    (
        BOTH
        | {
            "pools": {"gpu": P5 | {"capacity": {"source": "reservation-group", "resource_group_arn": GROUP}}},
            "batch.min_nodes": {"gpu": 1},
        },
        EXCEEDED,
    ),
    # Both kinds of HyperPod run all nodes of a plan, but for pools that Karpenter fills.
    (
        {
            "pools.gpu.capacity": {"source": "training-plan", "training_plan_arn": PLAN},
            "hyperpod_eks.pools": ["gpu"],
        },
        {("reservation-exceeded", "hyperpod_eks.pools.0")},
    ),
    (
        {
            "pools.gpu.capacity": {"source": "training-plan", "training_plan_arn": PLAN},
            "hyperpod_eks": {"pools": ["gpu"], "autoscaling": True, "autoscaled_pools": ["gpu"]},
        },
        {("reservation-contended", "hyperpod_eks.pools.0")},
    ),
    # one reservation, one type
    (
        BASE
        | {
            "pools": {"gpu": P5, "more": P5 | {"instance_type": "p5en.48xlarge"}},
            "eks.pools": ["gpu", "more"],
        },
        {("reservation-type", "pools.more.capacity.reservation_id")},
    ),
    (
        BASE | {"pools": {"gpu": P5, "more": P5 | {"capacity": RESERVATION}}, "eks.pools": ["gpu", "more"]},
        {("reservation-type", "pools.more.capacity.reservation_id")},
    ),
    (
        BASE
        | {
            "pools": {
                "gpu": P5 | {"capacity": RESERVATION},
                "more": P5 | {"instance_type": "p5en.48xlarge", "capacity": OTHER},
            },
            "eks.pools": ["gpu", "more"],
        },
        set(),
    ),
    # nodes that the creation of a ParallelCluster waits for
    (
        BASE | {"pools": {"gpu": P5 | {"capacity": RESERVATION}}, "parallelcluster.pools": ["gpu"]},
        {("creation-waits-for-nodes", "parallelcluster.pools.0")},
    ),
    (
        BASE
        | {
            "pools": {"gpu": P5 | {"capacity": RESERVATION}},
            "parallelcluster": {"pools": ["gpu"], "min_nodes": {"gpu": 0}},
        },
        set(),
    ),
    (
        BASE
        | {
            "pools": {"gpu": {"instance_type": "g5.8xlarge", "nodes": 2}},
            "parallelcluster": {"pools": ["gpu"], "min_nodes": {"gpu": 1}},
        },
        {("creation-waits-for-nodes", "parallelcluster.min_nodes.gpu")},
    ),
    (
        BASE
        | {
            "pools": {"gpu": {"instance_type": "g5.8xlarge", "nodes": 2}},
            "parallelcluster": {"pools": ["gpu"]},
        },
        set(),
    ),
    # RHEL is a platform of its own; Rocky is not
    *(
        (
            BASE
            | {
                "parallelcluster": {
                    "pools": ["gpu"],
                    "image": {"os": system, "ami_id": "ami-0123456789abcdef0"},
                }
            },
            expected,
        )
        for system, expected in (
            ("rhel9", {("reservation-platform", "parallelcluster.pools.0")}),
            ("rocky9", set()),
            ("ubuntu2404", set()),
        )
    ),
    # Nodes of a block that has not begun are in maintenance, which the creation passes over.
    (BASE | {"parallelcluster.pools": ["gpu"]}, set()),
]


@pytest.mark.parametrize(("changes", "expected"), CASES)
def test_reservation_rules(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert {(rule, path) for rule, path in found(changes) if rule in ON_RESERVATIONS} == expected


def test_the_finding_counts_what_each_cluster_runs() -> None:
    changes = BOTH | {"batch.min_nodes": {"gpu": 16}}
    [finding] = [
        finding
        for finding in check(Settings.model_validate(changed(changes)))
        if finding.rule == "reservation-exceeded"
    ]
    assert finding.is_error
    assert "clusters run 32 nodes of 'cr-0123456789abcdef0', whose pools have 16" in finding.message
    assert finding.message.endswith("have 16: eks 16 (pool 'gpu'), batch 16 (pool 'gpu')")


@pytest.mark.parametrize(
    ("capacity", "keys"),
    [
        # ParallelCluster refuses a Capacity Block of which it keeps fewer nodes than all.
        (P5["capacity"], "'eks.scaling'"),
        (RESERVATION, "'parallelcluster.min_nodes' or 'eks.scaling'"),
    ],
)
def test_the_advice_names_keys_by_which_a_cluster_runs_no_nodes(capacity: dict[str, Any], keys: str) -> None:
    changes = BASE | {
        "pools": {"gpu": P5 | {"capacity": capacity}},
        "eks.pools": ["gpu"],
        "parallelcluster.pools": ["gpu"],
    }
    settings = Settings.model_validate(changed(changes))
    [finding] = [finding for finding in check(settings) if finding.rule == "reservation-exceeded"]
    assert f"let one of them run none by {keys}, or give each cluster a pool" in finding.hint


def test_the_finding_on_waiting_advises_a_first_deployment_without_nodes() -> None:
    changes = BASE | {"pools": {"gpu": P5 | {"capacity": RESERVATION}}, "parallelcluster.pools": ["gpu"]}
    [finding] = check(Settings.model_validate(changed(changes)))
    assert not finding.is_error
    assert "'min_nodes: {gpu: 0}'" in finding.hint
