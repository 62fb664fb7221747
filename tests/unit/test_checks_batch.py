"""Rules on AWS Batch: images, interfaces, storage, running nodes, shares, priorities, secrets, capacity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from settings.deployment import Settings
from settings.rules import check
from tests.unit.configuration import GONE, GROUP, NETWORK, PLAN, changed, found
from workloads import registry
from workloads.secret import Secret

SECTION = "batch"
BATCH: dict[str, Any] = {"hyperpod": None, SECTION: {"pools": ["gpu"]}}
SECRET = "arn:aws:secretsmanager:us-west-2:111122223333:secret:huggingface-AbCdEf"
SOURCE = ("capacity-unsupported", "pools.gpu.capacity.source")
RESERVED = "cr-0123456789abcdef0"


def _pool(**changes: Any) -> dict[str, Any]:
    return BATCH | {f"pools.gpu.{key}": value for key, value in changes.items()}


def _shares(**weights: float) -> dict[str, Any]:
    return BATCH | {f"{SECTION}.fair_share": {"weights": weights}}


def _share(name: str) -> tuple[str, str]:
    return ("batch-share", f"{SECTION}.fair_share.weights.{name}")


CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    (BATCH, set()),
    # capacity: all that jobs of several nodes can have
    (_pool(capacity={"source": "spot"}), {SOURCE}),
    (_pool(capacity={"source": "reservation", "reservation_id": RESERVED}), set()),
    (_pool(capacity={"source": "reservation-group", "resource_group_arn": GROUP}), set()),
    (
        _pool(instance_type="p5.48xlarge", capacity={"source": "capacity-block", "reservation_id": RESERVED}),
        set(),
    ),
    (
        _pool(capacity={"source": "training-plan", "training_plan_arn": PLAN}),
        {SOURCE, ("training-plan-cluster", "pools.gpu.capacity.source")},
    ),
    # images
    (
        _pool(
            instance_type="p6e-gb200.36xlarge",
            capacity={"source": "capacity-block", "reservation_id": RESERVED},
        ),
        {("batch-image", "pools.gpu.instance_type")},
    ),
    (_pool(instance_type="trn1.32xlarge"), set()),
    # room for the interface of a job's container
    (_pool(instance_type="hpc6id.32xlarge"), {("batch-interface", "pools.gpu.instance_type")}),
    (_pool(instance_type="hpc7a.96xlarge"), set()),
    # the default group of an existing VPC: jobs with EFA meet there
    (BATCH | {"network.existing": NETWORK, "pools.gpu.instance_type": "g5.4xlarge"}, set()),
    (
        BATCH | {"network.existing": NETWORK},
        {("batch-default-group", "network.existing.vpc_id")},
    ),
    # storage
    (BATCH | {"storage.lustre": GONE}, {("batch-storage", "storage.lustre")}),
    (BATCH | {"storage.lustre.mount_path": "/scratch"}, {("batch-storage", "storage.lustre.mount_path")}),
    (BATCH | {"storage.lustre.mount_path": "/scratch/fsx"}, {("batch-storage", "storage.lustre.mount_path")}),
    (BATCH | {"storage.lustre.mount_path": "/scratchy"}, set()),
    # nodes that stand always
    (BATCH | {f"{SECTION}.min_nodes": {"gpu": 2}}, set()),
    (BATCH | {f"{SECTION}.min_nodes": {"gpu": 3}}, {("batch-min-nodes", f"{SECTION}.min_nodes.gpu")}),
    (BATCH | {f"{SECTION}.min_nodes": {"gpu": -1}}, {("batch-min-nodes", f"{SECTION}.min_nodes.gpu")}),
    (BATCH | {f"{SECTION}.min_nodes": {"cpu": 1}}, {("batch-min-nodes", f"{SECTION}.min_nodes.cpu")}),
    # shares
    (_shares(a=0.0001, b=999.9999), set()),
    (_shares(a=0.00001, b=1000), {_share("a"), _share("b")}),
    (_shares(**{"a-b": 1}), {_share("a-b")}),
    (_shares(**{"x" * 256: 1}), {_share("x" * 256)}),
    (_shares(**{"team": 1, "user*": 2}), set()),
    (_shares(**{"user*": 2}), {_share("user*")}),
    (_shares(**{"team": 1, "user*": 2, "user7": 3}), {_share("user7")}),
    # priorities
    (
        BATCH | {f"{SECTION}.fair_share": {"weights": {"a": 1}, "priorities": {"fsdp": 9, "fsdpp": 1}}},
        {("batch-priority", f"{SECTION}.fair_share.priorities.fsdpp")},
    ),
    # secrets
    (BATCH | {f"{SECTION}.secrets": {"huggingface": SECRET}}, set()),
    (
        BATCH | {f"{SECTION}.secrets": {"huggingface": "hf_abcdef"}},
        {("batch-secret", f"{SECTION}.secrets.huggingface")},
    ),
    (BATCH | {f"{SECTION}.secrets": {"huggingface": f"{SECRET}:token::"}}, set()),
    # Without what Secrets Manager adds to the name, a role that is given it may read nothing.
    (
        BATCH | {f"{SECTION}.secrets": {"huggingface": SECRET.removesuffix("-AbCdEf")}},
        {("batch-secret", f"{SECTION}.secrets.huggingface")},
    ),
    (
        BATCH | {f"{SECTION}.secrets": {"huggingface": SECRET.replace("AbCdEf", "*")}},
        {("batch-secret", f"{SECTION}.secrets.huggingface")},
    ),
    (
        BATCH | {f"{SECTION}.secrets": {"huggingface": SECRET.replace("us-west-2", "us-east-1")}},
        {("arn-region", f"{SECTION}.secrets.huggingface")},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CASES)
def test_batch(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert found(changes) == expected


def test_a_secret_in_place_of_its_arn_is_not_shown() -> None:
    data = changed(BATCH | {f"{SECTION}.secrets": {"huggingface": "hf_abcdef"}})
    findings = [*check(Settings.model_validate(data))]
    assert "batch-secret" in [finding.rule for finding in findings]
    assert "hf_abcdef" not in str(findings)


def test_a_secret_that_a_workload_needs_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = registry.workload("cpu-ddp")
    needing = replace(plain, secrets=(Secret("huggingface", "HF_TOKEN", required=True),))
    monkeypatch.setattr(registry, "workload", lambda _name: needing)
    entry = {"workload": "cpu-ddp", "preset": plain.reference.name, "pool": "gpu", "clusters": [SECTION]}

    def rules(secrets: dict[str, str]) -> set[str]:
        data = changed(BATCH | {"workloads": [entry], f"{SECTION}.secrets": secrets})
        return {finding.rule for finding in check(Settings.model_validate(data))}

    assert "batch-secret-missing" in rules({})
    assert "batch-secret-missing" not in rules({"huggingface": SECRET})


def test_the_finding_on_spot_names_the_alternatives() -> None:
    data = changed(_pool(capacity={"source": "spot"}))
    [finding] = check(Settings.model_validate(data))
    assert "batch does not support the capacity source 'spot'" in finding.message
    assert "on-demand" in finding.hint


@pytest.mark.parametrize("minutes", [9, 1441])
def test_limits_are_within_what_batch_takes(minutes: int) -> None:
    data = changed(BATCH | {f"{SECTION}.runnable_limits": {"capacity_minutes": minutes}})
    with pytest.raises(ValueError, match="capacity_minutes"):
        Settings.model_validate(data)
