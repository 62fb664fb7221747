"""The comparison of an update with what is deployed: what it replaces, deletes, leaves and cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli.main import app
from settings.deployed import Deployed
from settings.deployment import Settings
from settings.rules import check
from settings.rules.update import IN_PLACE, REFUSED, REPLACED, STACK_SECTIONS
from tests.unit.configuration import GONE, NETWORK, changed

OURS = {"deployment-moved", "update-replaces", "update-refused", "update-deletes", "stack-left"}
LUSTRE = {"capacity_gib": 4800, "throughput_mbps_per_tib": 250}
POOL = {"instance_type": "c6i.4xlarge", "nodes": 2, "capacity": {"source": "on-demand"}}

CASES: list[tuple[dict[str, Any], dict[str, Any], set[tuple[str, str]]]] = [
    ({}, {}, set()),
    ({}, {"name": "other"}, {("deployment-moved", "name")}),
    ({}, {"region": "us-east-1"}, {("deployment-moved", "region")}),
    # the network
    (
        {},
        {"network.primary_cidr": "10.8.0.0/16"},
        {("update-replaces", "network.primary_cidr"), ("update-replaces", "network.secondary_cidrs")},
    ),
    (
        {},
        {"network.secondary_cidrs": ["10.9.0.0/16"]},
        {("update-replaces", "network.secondary_cidrs")},
    ),
    (
        {},
        {"availability_zones": ["us-west-2b", "us-west-2a"]},
        {
            ("update-replaces", "availability_zones"),
            ("update-replaces", "storage.lustre.availability_zone"),
            ("update-replaces", "storage.openzfs.availability_zone"),
        },
    ),
    ({}, {"availability_zones": ["us-west-2a"]}, {("update-replaces", "availability_zones")}),
    ({}, {"availability_zones": ["us-west-2a", "us-west-2b", "us-west-2c"]}, set()),
    # the range that is the default, written out
    ({}, {"network.secondary_cidrs": ["10.1.0.0/16"]}, set()),
    ({}, {"network.existing": NETWORK}, {("update-replaces", "network.existing.vpc_id")}),
    (
        {"network.existing": NETWORK},
        {"network.existing": NETWORK | {"private_subnets": {"us-west-2a": "subnet-0123456789abcdef9"}}},
        {("update-replaces", "network.existing.private_subnets")},
    ),
    # a cluster that exists takes no other way of provisioning
    (
        {},
        {"hyperpod.continuous_provisioning": False},
        {("update-refused", "hyperpod.continuous_provisioning")},
    ),
    (
        {"hyperpod": {"pools": ["gpu"], "continuous_provisioning": False}},
        {},
        {("update-refused", "hyperpod.continuous_provisioning")},
    ),
    # file systems
    (
        {},
        {"storage.lustre.availability_zone": "us-west-2b"},
        {("update-replaces", "storage.lustre.availability_zone")},
    ),
    ({}, {"storage.lustre.availability_zone": "us-west-2a"}, set()),
    (
        {"storage.lustre": LUSTRE},
        {"storage.lustre": LUSTRE | {"efa": True}},
        {("update-replaces", "storage.lustre.efa")},
    ),
    (
        {"storage.lustre": LUSTRE},
        {"storage.lustre": LUSTRE | {"capacity_gib": 1200}},
        {("update-refused", "storage.lustre.capacity_gib")},
    ),
    ({}, {"storage.lustre": LUSTRE | {"throughput_mbps_per_tib": 500}}, set()),
    (
        {},
        {"storage.lustre.existing": {"file_system_id": "fs-0123456789abcdef0", "mount_name": "abcdefgh"}},
        {("update-replaces", "storage.lustre.existing")},
    ),
    ({}, {"storage.lustre": GONE}, {("update-deletes", "storage.lustre")}),
    ({}, {"storage.openzfs.capacity_gib": 128}, {("update-refused", "storage.openzfs.capacity_gib")}),
    ({}, {"storage.openzfs.capacity_gib": 281}, {("update-refused", "storage.openzfs.capacity_gib")}),
    ({}, {"storage.openzfs.capacity_gib": 282}, set()),
    ({}, {"storage.openzfs.deployment": "multi-zone"}, {("update-replaces", "storage.openzfs.deployment")}),
    ({}, {"storage.bucket.existing": "mine"}, {("update-replaces", "storage.bucket.existing")}),
    # stacks
    ({}, {"hyperpod": GONE}, {("stack-left", "hyperpod")}),
    ({"observability": {}}, {"observability": GONE}, {("stack-left", "observability")}),
    ({"images": {"one": {"playbook": "ec2"}}}, {"images": GONE}, {("stack-left", "images")}),
    ({}, {"eks": {"pools": ["gpu"]}}, set()),
    # what cannot be judged
    ({}, {"pools.gpu.nodes": 3}, {("update-not-compared", "pools.gpu")}),
    ({}, {"hyperpod.login": {"nodes": 2}}, {("update-not-compared", "hyperpod")}),
    ({}, {"retention": "durable"}, {("update-not-compared", "retention")}),
    ({}, {"network.isolated": True}, {("update-not-compared", "network.isolated")}),
    ({"storage.lustre": GONE}, {}, {("update-not-compared", "storage.lustre")}),
    ({}, {"tags": {"team": "a"}}, {("update-not-compared", "tags")}),
    # what ParallelCluster's own rules compare
    (
        {"hyperpod": GONE, "pools.gpu": POOL, "parallelcluster": {"pools": ["gpu"]}},
        {"hyperpod": GONE, "pools.gpu": POOL | {"nodes": 3}, "parallelcluster": {"pools": ["gpu"]}},
        set(),
    ),
    # in place
    ({}, {"notifications.emails": ["a@example.org"], "storage.openzfs.throughput_mbps": 320}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("then", "now", "expected"), CASES, ids=str)
def test_what_an_update_does(
    then: dict[str, Any], now: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    deployed = Deployed(settings=Settings.model_validate(changed(then)))
    findings = check(Settings.model_validate(changed(now)), None, deployed)
    ours = {(found.rule, found.path) for found in findings if found.rule in {*OURS, "update-not-compared"}}
    assert ours == expected
    for finding in findings:
        assert not finding.message[0].isupper()
        assert not finding.message.endswith(".")


@pytest.mark.parametrize(
    ("section", "alone"), [("hyperpod", False), ("observability", True), ("images", True)]
)
def test_a_stack_that_clusters_use_is_deleted_without_them(section: str, alone: bool) -> None:
    """`cdk destroy` of one stack takes along those that use it, unless it is told not to."""
    then = {"observability": {}, "images": {"one": {"playbook": "ec2"}}}
    deployed = Deployed(settings=Settings.model_validate(changed(then)))
    findings = check(Settings.model_validate(changed({**then, section: GONE})), None, deployed)
    [left] = [found for found in findings if found.rule == "stack-left"]
    assert ("'cdk destroy --exclusively'" in left.hint) == alone


def test_every_key_of_the_tables_is_one_of_the_settings() -> None:
    schema = Settings.model_json_schema()
    for path in (*IN_PLACE, *STACK_SECTIONS, *(value.path for value in (*REPLACED, *REFUSED))):
        node = schema
        for key in path.split("."):
            options = [node, *node.get("anyOf", []), *node.get("allOf", [])]
            names = [option["$ref"].rpartition("/")[2] for option in options if "$ref" in option]
            holders = [node, *(schema["$defs"][name] for name in names)]
            node = next((one["properties"][key] for one in holders if key in one.get("properties", {})), {})
            assert node, path


def files(folder: Path, then: dict[str, Any], now: dict[str, Any]) -> tuple[str, str]:
    for name, changes in (("then", then), ("now", now)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(changed(changes)), encoding="utf-8")
    return str(folder / "now.yaml"), str(folder / "then.yaml")


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["validate", *words])
    return result.exit_code, result.output


def test_the_command_does_not_say_valid_alone_of_what_it_does_not_compare(tmp_path: Path) -> None:
    now, then = files(tmp_path, {}, {"pools.gpu.nodes": 3, "retention": "durable"})
    code, output = run(now, "--against", then)
    assert code == 3
    assert output.rstrip().endswith(f"NOT COMPARED with {then}: pools.gpu, retention; exit code 3")
    code, output = run(now, "--against", then, "--json")
    assert (code, json.loads(output)["not_compared"]) == (3, ["pools.gpu", "retention"])
    assert run(now)[0] == 0


def test_a_program_gets_json_of_a_deployed_file_that_cannot_be_read(tmp_path: Path) -> None:
    now, then = files(tmp_path, {}, {})
    Path(then).write_text("a: [", encoding="utf-8")
    result = CliRunner().invoke(app, ["validate", now, "--against", then, "--json"])
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["ok"]) == (2, False)
    assert [found["rule"] for found in answer["findings"]] == ["not-yaml"]


def test_what_was_looked_at_is_acknowledged(tmp_path: Path) -> None:
    reason = {"rule": "update-not-compared", "path": "pools.gpu", "reason": "cdk diff: the count alone"}
    now, then = files(tmp_path, {}, {"pools.gpu.nodes": 3, "acknowledge": [reason]})
    code, output = run(now, "--against", then)
    assert code == 0, output
    assert "NOT COMPARED" not in output
    # Without something to compare with nothing is said of it.
    assert "acknowledgement-unused" not in run(now)[1]


def test_an_equal_configuration_is_valid_against_itself(tmp_path: Path) -> None:
    now, then = files(tmp_path, {}, {})
    code, output = run(now, "--against", then)
    assert code == 0
    assert "NOT COMPARED" not in output


def test_a_moved_file_system_stops_it(tmp_path: Path) -> None:
    now, then = files(tmp_path, {}, {"storage.lustre.availability_zone": "us-west-2b"})
    code, output = run(now, "--against", then)
    assert code == 2
    assert "the zone of Lustre changes from 'us-west-2a' to 'us-west-2b'" in output
