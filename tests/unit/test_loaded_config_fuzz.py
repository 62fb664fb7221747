"""Broken configurations without end: reading never raises, and always yields findings or settings."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from settings.loaded_config import LoadedConfig, read
from settings.report import report
from settings.rules.rule_table import rule_table
from settings.summary import summary
from tests.unit.configuration import GROUP, KEY, NETWORK, PLAN, SECRET, VALID, changed

RULES = {entry.name for entry in rule_table()}
FULL: dict[str, Any] = changed(
    {
        "tags": {"team": "ml"},
        "retention": "durable",
        "pools.plan": {
            "instance_type": "p5.48xlarge",
            "nodes": 2,
            "capacity": {"source": "training-plan", "training_plan_arn": PLAN},
            "interface_type": "efa-only",
            "threads_per_core": 1,
        },
        "pools.group": {
            "instance_type": "trn1.32xlarge",
            "nodes": 1,
            "capacity": {"source": "reservation-group", "resource_group_arn": GROUP},
        },
        "network": {"primary_cidr": "10.0.0.0/16", "secondary_cidrs": ["10.1.0.0/16"], "existing": NETWORK},
        "storage.bucket": {"existing": "my-data"},
        "storage.lustre": {"existing": {"file_system_id": "fs-01234567", "mount_name": "fsx"}, "efa": True},
        "hyperpod.pools": ["gpu", "plan"],
        "hyperpod.partitions": {"gpu": "train"},
        "hyperpod.accounting": {"endpoint": "db.example.com", "secret_arn": SECRET},
        "hyperpod.node_setup": {
            "users": [{"name": "ana", "uid": 2001, "ssh_public_key": KEY}],
            "containers": {"cache_path": "/fsx/enroot"},
            "packages": ["htop"],
        },
        "hyperpod.lifecycle_scripts": {"directory": "scripts"},
        "notifications": {"emails": ["ana@example.com"]},
        "acknowledge": [{"rule": "pool-unused", "path": "pools.*", "reason": "kept for later"}],
    }
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**17, max_value=10**30),
    st.integers(max_value=-1),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["", "-", "0", "cr-", "arn:aws:", "10.0.0.0/8", "::/0", "us-west-2a", "a" * 300, "../..", "\x00", "~"]
    ),
)
NONSENSE = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(sorted(VALID)), inner, max_size=3)
    ),
    max_leaves=6,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path, *(found for key, child in children for found in _paths(child, (*path, key)))]


PATHS = [path for path in _paths(FULL) if path]


@st.composite
def mutations(draw: st.DrawFn) -> dict[str, Any]:
    """Return the full configuration with a few values replaced, removed, renamed or added."""
    data = copy.deepcopy(FULL)
    for path in draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=5)):
        place: Any = data
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue
        match draw(st.sampled_from(["replace", "remove", "rename", "add"])):
            case "replace":
                place[path[-1]] = draw(NONSENSE)
            case "remove":
                del place[path[-1]]
            case "rename" if isinstance(place, dict):
                place[draw(st.text(max_size=12))] = place.pop(path[-1])
            case "add" if isinstance(place, dict):
                place[draw(st.text(max_size=12))] = draw(NONSENSE)
    return data


def _examined(path: Path) -> LoadedConfig:
    reading = read(path)
    text = report(reading.findings, path)
    assert all(line.isprintable() for line in text.split("\n"))
    for finding in reading.findings:
        assert finding.rule in RULES
        assert finding.message
        str(finding)
    if reading.settings is None:
        assert any(finding.is_error for finding in reading.findings)
    else:
        summary(reading.settings)
        for name in reading.settings.pools:
            assert reading.settings.pools[name].name == name
    assert len(set(reading.findings)) == len(reading.findings)
    return reading


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "config.yaml"


FEW = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(data=mutations())
def test_mutations_of_a_valid_configuration(path: Path, data: dict[str, Any]) -> None:
    path.write_text(yaml.dump(data), encoding="utf-8")
    _examined(path)


@FEW
@given(data=NONSENSE)
def test_nonsense(path: Path, data: Any) -> None:
    path.write_text(yaml.dump(data), encoding="utf-8")
    assert not _examined(path).ok


@FEW
@given(text=st.text(max_size=200) | st.text(alphabet="ab:- \n{}[]&*!|>'\"#%@`,?<=~0", max_size=80))
def test_text_that_may_be_no_yaml(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    assert not _examined(path).ok


@FEW
@given(content=st.binary(max_size=200))
def test_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert not _examined(path).ok


@FEW
@given(mutilated=st.tuples(st.integers(0, 3000), st.integers(0, 200), st.text(max_size=5)))
def test_a_file_with_a_hole(path: Path, mutilated: tuple[int, int, str]) -> None:
    start, length, put = mutilated
    text = yaml.safe_dump(FULL)
    path.write_text(text[:start] + put + text[start + length :], encoding="utf-8", newline="")
    _examined(path)


def test_the_configuration_that_is_mutated_is_broken_by_its_contradictions_only(path: Path) -> None:
    path.write_text(yaml.safe_dump(FULL), encoding="utf-8")
    assert {finding.rule for finding in _examined(path).findings} == {
        "existing-storage-access",
        "lifecycle-directory",
        "network-existing-ignored",
        "scripts-exclusive",
        "storage-existing-ignored",
    }
