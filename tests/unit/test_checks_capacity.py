"""Rules on instance types and on where nodes come from."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.configuration import GONE, GROUP, PLAN, SECRET, VALID, found

SOURCE = "pools.gpu.capacity.source"
ROLE = "arn:aws:iam::111122223333:role/Researcher"
CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    ({}, set()),
    # instance types
    (
        {"pools.gpu.instance_type": "g5.9xlarge"},
        {("instance-type-unknown", "pools.gpu.instance_type")},
    ),
    (
        {"pools.gpu.instance_type": "ml.g5.8xlarge"},
        {("instance-type-unknown", "pools.gpu.instance_type")},
    ),
    ({"pools.gpu.instance_type": ""}, {("instance-type-unknown", "pools.gpu.instance_type")}),
    (
        {"hyperpod.controller.instance_type": "nonsense", "hyperpod.login.instance_type": "m5"},
        {
            ("instance-type-unknown", "hyperpod.controller.instance_type"),
            ("instance-type-unknown", "hyperpod.login.instance_type"),
        },
    ),
    ({"pools.gpu.instance_type": "inf2.xlarge"}, {("instance-type-hyperpod", "pools.gpu.instance_type")}),
    (
        {"hyperpod.controller.instance_type": "hpc6a.48xlarge"},
        {("instance-type-hyperpod", "hyperpod.controller.instance_type")},
    ),
    # A pool that HyperPod does not use may be of any type.
    (
        {"pools.other": {"instance_type": "inf2.xlarge", "nodes": 1}},
        {("pool-unused", "pools.other")},
    ),
    (
        {"hyperpod.controller.instance_type": "g5.xlarge"},
        {("controller-accelerated", "hyperpod.controller.instance_type")},
    ),
    (
        {"hyperpod.login.instance_type": "trn1.32xlarge"},
        {("login-accelerated", "hyperpod.login.instance_type")},
    ),
    ({"hyperpod.login": None}, set()),
    # options of a type
    (
        {"pools.gpu.instance_type": "g5.xlarge", "pools.gpu.interface_type": "efa"},
        {("interface-without-efa", "pools.gpu.interface_type")},
    ),
    ({"pools.gpu.interface_type": "efa-only"}, set()),
    ({"pools.gpu.threads_per_core": 1}, set()),
    ({"pools.gpu.threads_per_core": 2}, set()),
    (
        {"pools.gpu.instance_type": "hpc6a.48xlarge", "pools.gpu.threads_per_core": 2},
        {
            ("threads-per-core", "pools.gpu.threads_per_core"),
            ("instance-type-hyperpod", "pools.gpu.instance_type"),
        },
    ),
    # sources that HyperPod honours, or not
    ({"pools.gpu.capacity": {"source": "spot"}}, set()),
    ({"pools.gpu.capacity": {"source": "training-plan", "training_plan_arn": PLAN}}, set()),
    (
        {"pools.gpu.capacity": {"source": "reservation", "reservation_id": "cr-0123456789abcdef0"}},
        {("capacity-unsupported", SOURCE)},
    ),
    (
        {"pools.gpu.capacity": {"source": "reservation-group", "resource_group_arn": GROUP}},
        {("capacity-unsupported", SOURCE)},
    ),
    (
        {
            "pools.gpu.instance_type": "p5.48xlarge",
            "pools.gpu.capacity": {"source": "capacity-block", "reservation_id": "cr-0123456789abcdef0"},
        },
        {("capacity-unsupported", SOURCE)},
    ),
    # A pool that no HyperPod cluster lists may have any source but a training plan.
    (
        {
            "pools.ec2": {
                "instance_type": "g5.8xlarge",
                "nodes": 1,
                "capacity": {"source": "reservation", "reservation_id": "cr-0123456789abcdef0"},
            }
        },
        {("pool-unused", "pools.ec2")},
    ),
    (
        {
            "pools.plan": {
                "instance_type": "p5.48xlarge",
                "nodes": 1,
                "capacity": {"source": "training-plan", "training_plan_arn": PLAN},
            }
        },
        {("pool-unused", "pools.plan"), ("training-plan-cluster", "pools.plan.capacity.source")},
    ),
    # what EC2 sells
    (
        {"pools.gpu.capacity": {"source": "capacity-block", "reservation_id": "cr-0123456789abcdef0"}},
        {("capacity-unsupported", SOURCE), ("capacity-not-offered", SOURCE)},
    ),
    (
        {"pools.gpu.instance_type": "p6-b300.48xlarge", "pools.gpu.capacity": {"source": "spot"}},
        set(),
    ),
    (
        {"pools.gpu.instance_type": "p6e-gb200.36xlarge"},
        {("capacity-not-offered", SOURCE)},
    ),
    # on demand is what a pool gets that says nothing
    (
        {"pools.gpu.instance_type": "p6e-gb200.36xlarge", "pools.gpu.capacity": GONE},
        {("capacity-not-offered", "pools.gpu.instance_type")},
    ),
    (
        {
            "pools.gpu.instance_type": "p6e-gb200.36xlarge",
            "pools.gpu.capacity": {"source": "training-plan", "training_plan_arn": PLAN},
        },
        set(),
    ),
    ({"pools.gpu.capacity": GONE}, set()),
    # forms of ids
    (
        {"pools.gpu.capacity": {"source": "reservation", "reservation_id": "cr-0123456789ABCDEF0"}},
        {("capacity-unsupported", SOURCE), ("reservation-id", "pools.gpu.capacity.reservation_id")},
    ),
    (
        {"pools.gpu.capacity": {"source": "reservation-group", "resource_group_arn": "gpus"}},
        {
            ("capacity-unsupported", SOURCE),
            ("resource-group-arn", "pools.gpu.capacity.resource_group_arn"),
        },
    ),
    (
        {
            "pools.gpu.capacity": {
                "source": "training-plan",
                "training_plan_arn": PLAN.replace("plan/", "plan:"),
            }
        },
        {("training-plan-arn", "pools.gpu.capacity.training_plan_arn")},
    ),
    (
        {
            "pools.gpu.capacity": {
                "source": "training-plan",
                "training_plan_arn": PLAN.replace("us-west-2", "us-east-1"),
            }
        },
        {("arn-region", "pools.gpu.capacity.training_plan_arn")},
    ),
    # every ARN, whichever section names it
    (
        {
            "directory": {
                "certificate_secret_arn": SECRET.replace("us-west-2", "eu-west-1"),
                "users": [{"name": "ana", "uid": 2001}],
            }
        },
        {("arn-region", "directory.certificate_secret_arn")},
    ),
    # partitions, of ARNs without a region too
    (
        {
            "directory": {
                "certificate_secret_arn": SECRET.replace("arn:aws:", "arn:aws-cn:"),
                "users": [{"name": "ana", "uid": 2001}],
            }
        },
        {("arn-partition", "directory.certificate_secret_arn")},
    ),
    (
        {
            "eks": {
                "pools": ["gpu"],
                "access": [{"principal_arn": ROLE.replace("arn:aws:", "arn:aws-us-gov:")}],
            }
        },
        {("arn-partition", "eks.access.0.principal_arn")},
    ),
    ({"eks": {"pools": ["gpu"], "access": [{"principal_arn": ROLE}]}}, set()),
    # IAM and S3 have no regions in their ARNs, and words are no ARNs
    (
        {
            "tags": {"made-by": "arn:aws:lambda:eu-west-1:111122223333:function:x"},
        },
        set(),
    ),
    (
        {
            "hyperpod.accounting": {
                "endpoint": "db.example.com",
                "secret_arn": SECRET.replace("us-west-2", "eu-west-1"),
            }
        },
        {("arn-region", "hyperpod.accounting.secret_arn")},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=str)
def test_capacity_rules(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert found(changes) == expected


def test_a_message_names_the_next_step() -> None:
    from settings.deployment import Settings
    from settings.rules import check
    from tests.unit.configuration import changed

    block = {"source": "capacity-block", "reservation_id": "cr-0123456789abcdef0"}
    changes = {"pools.gpu.capacity": block, "pools.gpu.instance_type": "p5.48xlarge"}
    (finding,) = check(Settings.model_validate(changed(changes)))
    assert finding.is_error
    assert finding.value == "capacity-block"
    assert "'gpu'" in finding.message
    assert "hyperpod" in finding.message
    assert "training plan" in finding.hint


def test_an_unknown_type_names_the_nearest() -> None:
    from settings.deployment import Settings
    from settings.rules import check
    from tests.unit.configuration import changed

    (finding,) = check(Settings.model_validate(changed({"pools.gpu.instance_type": "p5.47xlarge"})))
    assert "did you mean 'p5.48xlarge'" in finding.message
    assert "trainforge catalog refresh" in finding.hint
    assert VALID["pools"]["gpu"]["instance_type"] == "g5.8xlarge"
