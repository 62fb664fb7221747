"""Reading a configuration: every mistake at once, in our words, and nothing that follows from another."""

from __future__ import annotations

import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from catalog.pool import Capacity
from settings.deployment import Settings
from settings.loaded_config import read
from settings.parser.json_schema import DescribedSchema
from settings.report import LocatedFinding, report
from tests.unit.configuration import GONE, changed, places, read_changed, read_text

ROOT = Path(__file__).parent.parent.parent


FIVE = """
name: Demo!
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools:
  gpu:
    instance_type: p5.47xlarge
    nodes: -4
    capacity: {source: spot}
storage:
  lustre: {capacity_gib: 1300, thruput: 5}
hyperpod: {pools: [gpu]}
"""


def test_five_mistakes_give_five_findings(tmp_path: Path) -> None:
    reading = read_text(tmp_path, FIVE)
    assert [(finding.rule, finding.path) for finding in reading.findings] == [
        ("deployment-name", "name"),
        ("instance-type-unknown", "pools.gpu.instance_type"),
        ("out-of-range", "pools.gpu.nodes"),
        ("lustre-capacity", "storage.lustre.capacity_gib"),
        ("unknown-key", "storage.lustre.thruput"),
    ]
    assert not reading.ok


def test_a_key_that_a_mapping_cannot_have_hides_no_mistake_of_others(tmp_path: Path) -> None:
    """Mistakes of rules are found beside it: only what the key holds is left out."""
    section = {
        "alerts": {"fatal": {"emails": ["a@b.co"]}, "warning": {"topic_arn": "abc"}},
        "kms_key_arn": "mine",
    }
    findings = read_changed(tmp_path, {"observability": section}).findings
    assert {(finding.rule, finding.path) for finding in findings if finding.is_error} == {
        ("unknown-key", "observability.alerts.fatal"),
        ("observability-arn", "observability.alerts.warning.topic_arn"),
        ("observability-arn", "observability.kms_key_arn"),
    }


def test_findings_have_the_line_of_their_value(tmp_path: Path) -> None:
    findings = read_text(tmp_path, FIVE).findings
    assert [finding.line for finding in findings if isinstance(finding, LocatedFinding)] == [2, 7, 8, 11, 11]


def test_a_default_is_at_the_line_of_what_holds_it(tmp_path: Path) -> None:
    reading = read_changed(tmp_path, {"network.secondary_cidrs": ["10.1.0.0/27"]})
    assert reading.ok
    data = changed({"pools.gpu.instance_type": "p5.48xlarge", "pools.gpu.nodes": 5000})
    (finding,) = read_text(tmp_path, yaml.safe_dump(data)).findings
    assert finding.rule == "subnet-too-small"
    assert getattr(finding, "line", 0) is None, "the file has no section 'network'"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # A pool that is broken is still there: nobody is told that it is unknown.
        ({"pools.gpu": 5}, {("wrong-type", "pools.gpu")}),
        ({"pools": 5}, {("wrong-type", "pools")}),
        ({"hyperpod": 5}, {("wrong-type", "hyperpod")}),
        ({"hyperpod.pools": [5]}, {("wrong-type", "hyperpod.pools.0")}),
        (
            {"hyperpod.pols": ["gpu"], "hyperpod.pools": GONE},
            {("unknown-key", "hyperpod.pols")},
        ),
        # What is left out because of one mistake takes no other with it.
        (
            {"hyperpod": {"node_recovery": "auto"}, "name": "X"},
            {
                ("missing-key", "hyperpod.pools"),
                ("not-allowed", "hyperpod.node_recovery"),
                ("deployment-name", "name"),
            },
        ),
        # A misspelt key beside the right one does not make that one doubtful.
        (
            {"pools.gpu.availability_zon": "x", "pools.gpu.availability_zone": "us-west-2c"},
            {("unknown-key", "pools.gpu.availability_zon"), ("zone-unknown", "pools.gpu.availability_zone")},
        ),
        ({"availability_zones": [5]}, {("wrong-type", "availability_zones.0")}),
        ({"region": 5}, {("wrong-type", "region")}),
        ({"network": 5}, {("wrong-type", "network")}),
        # What is beside a broken value is checked all the same.
        (
            {"pools.gpu.nodes": "x", "pools.gpu.instance_type": "y"},
            {("wrong-type", "pools.gpu.nodes"), ("instance-type-unknown", "pools.gpu.instance_type")},
        ),
        (
            {"pools.gpu.instance_type": 5, "pools.gpu.availability_zone": "us-west-2c"},
            {("wrong-type", "pools.gpu.instance_type"), ("zone-unknown", "pools.gpu.availability_zone")},
        ),
        (
            {"name": 5, "storage.lustre.capacity_gib": 7},
            {("wrong-type", "name"), ("lustre-capacity", "storage.lustre.capacity_gib")},
        ),
        (
            {"hyperpod.node_setup.users": [{"name": "A", "uid": 2001}, 5, {"name": "B", "uid": 2002}]},
            {
                ("user-name", "hyperpod.node_setup.users.0.name"),
                ("wrong-type", "hyperpod.node_setup.users.1"),
                ("user-name", "hyperpod.node_setup.users.2.name"),
            },
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_consequences_are_not_reported(
    tmp_path: Path, changes: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    assert places(read_changed(tmp_path, changes)) == expected


def test_lifecycle_scripts_are_looked_for_beside_the_file(tmp_path: Path) -> None:
    text = yaml.safe_dump(changed({"hyperpod.lifecycle_scripts": {"directory": "scripts"}}))
    assert places(read_text(tmp_path, text)) == {
        ("lifecycle-directory", "hyperpod.lifecycle_scripts.directory")
    }
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "on_create.sh").touch()
    assert read_text(tmp_path, text).ok


def test_warnings_leave_usable_settings(tmp_path: Path) -> None:
    reading = read_changed(tmp_path, {"hyperpod": None})
    assert reading.ok
    assert reading.settings is not None
    assert [finding.rule for finding in reading.findings] == ["pool-unused"]


def test_the_report_is_plain_and_complete(tmp_path: Path) -> None:
    reading = read_changed(tmp_path, {"hyperpod": None, "name": "X"})
    assert report(reading.findings, "some.yaml", width=70) == textwrap.dedent(
        """\
        some.yaml: 1 error, 1 warning

        error: name (line 1) [deployment-name]
          the name 'X' is not 1 to 20 lower case letters, digits and dashes
          that begin with a letter and do not end with a dash

        warning: pools.gpu (line 7) [pool-unused]
          no cluster uses the pool 'gpu'
          add it to a cluster's 'pools', or remove it"""
    )


def test_nothing_of_a_configuration_drives_the_terminal(tmp_path: Path) -> None:
    reading = read_text(tmp_path, 'name: "\\e[31mred\\a"\n"\\e[2Jpools": 1\nregion: "x\\ny"\n')
    text = report(reading.findings, "a\x1bb.yaml")
    assert all(line.isprintable() for line in text.split("\n"))
    assert "\\x1b[31mred" in text


def test_a_private_key_is_shown_nowhere(tmp_path: Path) -> None:
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"
    for path in ("hyperpod.node_setup.users", "name", "pools.gpu.nodes", "retention", "network.primary_cidr"):
        value: Any = [{"name": "ana", "uid": 2001, "ssh_public_key": pem}] if path.endswith("users") else pem
        findings = read_changed(tmp_path, {path: value}).findings
        assert findings
        assert "MIIEpAIBAAKCAQEA" not in report(findings, "x.yaml") + repr(findings), path


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_the_configurations_that_we_ship_have_no_findings(path: Path) -> None:
    assert report(read(path).findings, path).endswith("no findings")


@pytest.mark.parametrize("kind", get_args(Capacity), ids=lambda kind: kind.__name__)
def test_capacity_is_read_into_the_catalog_s_own_type(tmp_path: Path, kind: type[Any]) -> None:
    ids = {field.name: "x" for field in fields(kind) if field.name != "source"}
    made = kind(**ids)
    reading = read_changed(tmp_path, {"pools.gpu.capacity": {"source": made.source, **ids}})
    assert reading.settings
    assert reading.settings.pools["gpu"].capacity == made
    definition = Settings.model_json_schema(schema_generator=DescribedSchema)["$defs"][kind.__name__]
    assert definition["required"] == ["source", *ids], "no source, no capacity"
    assert all(definition["properties"][name]["description"] for name in ids)


def test_the_schema_describes_every_key() -> None:
    schema = Settings.model_json_schema(schema_generator=DescribedSchema)
    undescribed = {
        f"{name}.{key}"
        for name, kind in {"Settings": schema, **schema["$defs"]}.items()
        for key, shown in kind.get("properties", {}).items()
        if not shown.get("description") and key != "source"
    }
    assert not undescribed
    assert schema["$defs"]["NodeImageSettings"]["properties"]["from"]["description"].startswith(
        "Name of an image"
    )
