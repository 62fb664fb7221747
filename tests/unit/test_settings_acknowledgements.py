"""Findings that are accepted by name with a reason, and what is wrong with acknowledgements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.configuration import changed, places, read_text

REASON = "agreed with the team"


@pytest.mark.parametrize(
    ("changes", "acknowledge", "expected"),
    [
        ({"hyperpod": None}, [{"rule": "pool-unused", "reason": REASON}], set()),
        ({"hyperpod": None}, [{"rule": "pool-unused", "path": "pools.*", "reason": REASON}], set()),
        (
            {"hyperpod": None},
            [{"rule": "pool-unused", "path": "pools.cpu", "reason": REASON}],
            {("pool-unused", "pools.gpu"), ("acknowledgement-unused", "acknowledge.0.rule")},
        ),
        ({}, [{"rule": "pool-unused", "reason": REASON}], {("acknowledgement-unused", "acknowledge.0.rule")}),
        ({}, [{"rule": "pool-unusd", "reason": REASON}], {("acknowledgement-unknown", "acknowledge.0.rule")}),
        (
            {"name": "X"},
            [{"rule": "deployment-name", "reason": REASON}],
            {("deployment-name", "name"), ("acknowledgement-refused", "acknowledge.0.rule")},
        ),
        (
            {},
            [{"rule": "unknown-key", "reason": REASON}],
            {("acknowledgement-refused", "acknowledge.0.rule")},
        ),
        # Another rule's finding at the same place stays.
        (
            {"hyperpod": None, "network.primary_cidr": "172.17.0.0/16"},
            [{"rule": "pool-unused", "reason": REASON}],
            {("network-cidr-docker", "network.primary_cidr")},
        ),
        # An error of a rule known to be too strict.
        (
            {"pools.gpu.instance_type": "inf2.xlarge"},
            [{"rule": "instance-type-hyperpod", "reason": REASON}],
            set(),
        ),
        # Parts that cannot be checked may hold what was acknowledged.
        ({"pools": 5}, [{"rule": "pool-unused", "reason": REASON}], {("wrong-type", "pools")}),
        (
            {"hyperpod": None},
            [5, {"rule": "pool-unusd", "reason": REASON}],
            {
                ("wrong-type", "acknowledge.0"),
                ("acknowledgement-unknown", "acknowledge.1.rule"),
                ("pool-unused", "pools.gpu"),
            },
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_acknowledgements(
    tmp_path: Path, changes: dict[str, Any], acknowledge: list[Any], expected: set[tuple[str, str]]
) -> None:
    data = changed(changes) | {"acknowledge": acknowledge}
    assert places(read_text(tmp_path, yaml.safe_dump(data))) == expected
