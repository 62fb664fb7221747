"""Mistakes of shape: one finding each, in our words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from settings.rules.rule_table import rule_table
from tests.unit.configuration import GONE, places, read_changed

SHAPES: list[tuple[dict[str, Any], set[tuple[str, str]], str]] = [
    ({"nmae": "x"}, {("unknown-key", "nmae")}, "did you mean 'name'"),
    ({"pools.gpu.instance_tpye": "x"}, {("unknown-key", "pools.gpu.instance_tpye")}, "'instance_type'"),
    ({"pools.gpu.capacity.plan": "x"}, {("unknown-key", "pools.gpu.capacity.plan")}, "no key 'plan'"),
    (
        {"observability": {"alerts": {"critica": {}}}},
        {("unknown-key", "observability.alerts.critica")},
        "did you mean 'critical'",
    ),
    ({"region": GONE}, {("missing-key", "region")}, "'region' is required"),
    (
        {"name": GONE, "availability_zones": GONE},
        {("missing-key", "name"), ("missing-key", "availability_zones")},
        "required",
    ),
    ({"availability_zones": []}, {("out-of-range", "availability_zones")}, "at least 1 entry"),
    ({"availability_zones": ["us-west-2a"] * 7}, {("out-of-range", "availability_zones")}, "at most 6"),
    ({"availability_zones": "us-west-2a"}, {("wrong-type", "availability_zones")}, "a list, not text"),
    ({"pools.gpu.nodes": 0}, {("out-of-range", "pools.gpu.nodes")}, "not between 1 and 6758"),
    ({"pools.gpu.nodes": -3}, {("out-of-range", "pools.gpu.nodes")}, "-3"),
    ({"pools.gpu.nodes": 10**18}, {("out-of-range", "pools.gpu.nodes")}, "not between"),
    ({"pools.gpu.nodes": "4"}, {("wrong-type", "pools.gpu.nodes")}, "a whole number, not text"),
    ({"pools.gpu.nodes": True}, {("wrong-type", "pools.gpu.nodes")}, "a whole number"),
    ({"pools.gpu.nodes": 1.5}, {("wrong-type", "pools.gpu.nodes")}, "with a fraction"),
    ({"pools.gpu.nodes": float("nan")}, {("wrong-type", "pools.gpu.nodes")}, "no number at all"),
    ({"pools.gpu.nodes": None}, {("wrong-type", "pools.gpu.nodes")}, "there is no value"),
    ({"pools.gpu": None}, {("wrong-type", "pools.gpu")}, "a mapping"),
    ({"pools": [1]}, {("wrong-type", "pools")}, "a mapping, not a list"),
    ({"name": 5}, {("wrong-type", "name")}, "text, not a whole number"),
    ({"pools.gpu.threads_per_core": 3}, {("not-allowed", "pools.gpu.threads_per_core")}, "'3'"),
    ({"pools.gpu.threads_per_core": True}, {("wrong-type", "pools.gpu.threads_per_core")}, "whole number"),
    ({"retention": "durabel"}, {("not-allowed", "retention")}, "did you mean 'durable'"),
    ({"network.isolated": "true"}, {("wrong-type", "network.isolated")}, "true or false, not text"),
    ({"network.primary_cidr": "10.0.0.1/16"}, {("bad-cidr", "network.primary_cidr")}, "is an address"),
    ({"network.primary_cidr": "ten"}, {("bad-cidr", "network.primary_cidr")}, "not an IPv4 address range"),
    (
        {"network.existing": {}},
        {("missing-key", "network.existing.vpc_id"), ("missing-key", "network.existing.private_subnets")},
        "required",
    ),
    (
        {"pools.gpu.capacity": {"source": "blocks"}},
        {("capacity-source", "pools.gpu.capacity.source")},
        "'blocks'",
    ),
    ({"pools.gpu.capacity": {}}, {("capacity-source", "pools.gpu.capacity")}, "needs a 'source'"),
    (
        {"pools.gpu.capacity": {"reservation_id": "cr-1"}},
        {("capacity-source", "pools.gpu.capacity")},
        "needs a 'source'",
    ),
    (
        {"pools.gpu.capacity": "spot"},
        {("capacity-source", "pools.gpu.capacity")},
        "a capacity is a mapping with a 'source', not 'spot'",
    ),
    (
        {"pools.gpu.capacity": {"source": "reservation"}},
        {
            ("missing-key", "pools.gpu.capacity.reservation_id"),
            ("capacity-unsupported", "pools.gpu.capacity.source"),
        },
        "",
    ),
    ({"hyperpod.pools": []}, {("out-of-range", "hyperpod.pools")}, "at least 1 entry"),
    (
        {"hyperpod.pools": ["gpu", 5, "gpo"]},
        {("wrong-type", "hyperpod.pools.1"), ("pool-unknown", "hyperpod.pools.2")},
        "",
    ),
    (
        {"acknowledge": [{"rule": "pool-unused", "reason": "short"}]},
        {("out-of-range", "acknowledge.0.reason")},
        "at least 10 characters",
    ),
]


@pytest.mark.parametrize(("changes", "expected", "words"), SHAPES, ids=lambda value: str(value)[:60])
def test_mistakes_of_shape(
    tmp_path: Path, changes: dict[str, Any], expected: set[tuple[str, str]], words: str
) -> None:
    reading = read_changed(tmp_path, changes)
    assert places(reading) == expected
    assert words in " ".join(finding.message for finding in reading.findings)
    assert reading.settings is None


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"name": 5}, "put it in quotes: '\"5\"'"),
        ({"pools.gpu.nodes": "5"}, "remove the quotes"),
        ({"network.isolated": "true"}, "remove the quotes"),
        ({"availability_zones": "us-west-2a"}, "a list of one is written '[us-west-2a]'"),
        ({"network.primary_cidr": "10.0.0.1/16"}, "the range that holds it is '10.0.0.0/16'"),
        ({"storage.lustre.efaa": True}, "keys here: "),
        ({"pools.gpu.capacity": {"source": "x"}}, "allowed: 'on-demand', "),
        ({"pools.gpu.capacity": "ondemand"}, "write it as '{source: on-demand}'; sources: 'on-demand', "),
        ({"pools.gpu.capacity": "capacity_block"}, "write it as '{source: capacity-block}'; sources: "),
        ({"pools.gpu.capacity": "cr-0123456789abcdef0"}, "such as '{source: on-demand}'; sources: "),
        ({"region": GONE}, "AWS region, such as us-west-2"),
    ],
    ids=str,
)
def test_hints_say_what_to_write(tmp_path: Path, changes: dict[str, Any], hint: str) -> None:
    (finding,) = read_changed(tmp_path, changes).findings
    assert finding.hint.startswith(hint)


def test_messages_keep_the_form_of_errors(tmp_path: Path) -> None:
    names = {entry.name for entry in rule_table()}
    seen = 0
    for changes, _, _ in SHAPES:
        for finding in read_changed(tmp_path, changes).findings:
            seen += 1
            assert finding.rule in names
            assert finding.message
            assert not finding.message.endswith("."), finding
            assert not finding.message[0].isupper(), finding
            assert not finding.hint.endswith("."), finding
    assert seen >= len(SHAPES)


@pytest.mark.parametrize(
    ("software", "expected", "message"),
    [
        ({"devices": 3}, ("wrong-type", "devices"), "a mapping, not a whole number"),
        ({"queues": {"a": {"nodes": {}}}}, ("out-of-range", "queues.a.nodes"), "at least 1 entry"),
        (
            {"queues": {"a": {"nodes": {"gpu": -1}}}},
            ("out-of-range", "queues.a.nodes.gpu"),
            "-1 is not 0 or more",
        ),
        ({"devices": {"gpus": "none"}}, ("unknown-key", "devices.gpus"), "did you mean 'gpu'?"),
        ({"devices": {"gpu": "operator"}}, ("not-allowed", "devices.gpu"), "did you mean 'gpu-operator'?"),
        ({"devices": {"neuron_scheduler": "yes"}}, ("wrong-type", "devices.neuron_scheduler"), "not text"),
        (
            {"add_ons": {"amazon-cloudwatch-observability": {"version": 1}}},
            ("wrong-type", "add_ons.amazon-cloudwatch-observability.version"),
            "text, not a whole number",
        ),
    ],
)
def test_mistakes_in_what_is_read_into_the_catalog_s_types(
    tmp_path: Path, software: dict[str, Any], expected: tuple[str, str], message: str
) -> None:
    access = [{"principal_arn": "arn:aws:iam::111122223333:role/someone"}]
    section = {"pools": ["gpu"], "access": access, "software": software}
    [finding] = read_changed(tmp_path, {"hyperpod": GONE, "eks": section}).findings
    rule, path = expected
    assert (finding.rule, finding.path) == (rule, f"eks.software.{path}")
    assert message in finding.message


@pytest.mark.parametrize(
    ("overrides", "expected", "message"),
    [
        ("none", ("wrong-type", ""), "a list, not text"),
        ([3], ("wrong-type", ".0"), "a mapping, not a whole number"),
        ([{"action": "rebot"}], ("not-allowed", ".0.action"), "did you mean 'reboot'?"),
        ([{"condition": ""}], ("out-of-range", ".0.condition"), "at least 1 characters"),
    ],
)
def test_mistakes_in_a_list_that_is_read_into_a_tuple(
    tmp_path: Path, overrides: Any, expected: tuple[str, str], message: str
) -> None:
    access = [{"principal_arn": "arn:aws:iam::111122223333:role/someone"}]
    full = {"condition": "c", "reason": "r", "wait_minutes": 1, "action": "none"}
    if isinstance(overrides, list):
        overrides = [full | one if isinstance(one, dict) else one for one in overrides]
    section = {"pools": ["gpu"], "access": access, "node_repair": {"overrides": overrides}}
    [finding] = read_changed(tmp_path, {"hyperpod": GONE, "eks": section}).findings
    rule, path = expected
    assert (finding.rule, finding.path) == (rule, f"eks.node_repair.overrides{path}")
    assert message in finding.message
