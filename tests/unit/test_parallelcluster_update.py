"""Effects of an update on an existing cluster, against older settings, a configuration or a template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.versions import PARALLELCLUSTER
from settings.deployed import UNKNOWN, Deployed, read_deployed
from settings.deployment import Settings
from settings.loaded_config import read
from settings.rules import check
from settings.rules.parallelcluster_facts import HEAD_NODE, STOPPED, Fact
from tests.unit.configuration import NETWORK, changed
from tests.unit.deployed_cluster import CLUSTER, built, settings

RULES = {"head-node-replaced", "fleet-stop-needed", "login-stop-needed"}
STATES: list[dict[str, Any]] = [
    {},
    {"accounting": {}, "directory": {}, "parallelcluster.ssh": {"key_name": "mine"}},
    {"parallelcluster.node_setup": None, "network.isolated": True},
    {"parallelcluster.image": {"ami_id": "ami-0123456789abcdef0"}, "network.existing": NETWORK},
    {"storage.openzfs": None, "storage.lustre": None},
]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("fact", [*HEAD_NODE, *STOPPED], ids=lambda fact: ".".join(fact.keys))
def test_what_settings_say_is_what_the_cluster_gets(fact: Fact, state: dict[str, Any]) -> None:
    """The table of facts and the builder say the same; otherwise a comparison would compare nothing."""
    chosen = settings(state)
    assert chosen.parallelcluster
    if not fact.known(chosen):
        return
    expected, found = fact.read(chosen, chosen.parallelcluster), Deployed(cluster=built(chosen)).at(fact.keys)
    if fact.presence:
        assert (expected is not None) is (found is not None)
    else:
        assert expected == found


CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    ({}, set()),
    ({"name": "other"}, {("head-node-replaced", "name")}),
    (
        {"parallelcluster.head_node": {"instance_type": "m6i.8xlarge", "volume_gib": 600}},
        {
            ("head-node-replaced", "parallelcluster.head_node.instance_type"),
            ("head-node-replaced", "parallelcluster.head_node.volume_gib"),
        },
    ),
    (
        {"parallelcluster.image": {"os": "ubuntu2404", "ami_id": "ami-0123456789abcdef0"}},
        {
            ("head-node-replaced", "parallelcluster.image.os"),
            ("head-node-replaced", "parallelcluster.image.ami_id"),
        },
    ),
    ({"parallelcluster.ssh": {"key_name": "mine"}}, {("head-node-replaced", "parallelcluster.ssh.key_name")}),
    ({"parallelcluster.node_setup": None}, {("head-node-replaced", "parallelcluster.node_setup")}),
    ({"network.isolated": True}, {("head-node-replaced", "network.isolated")}),
    (
        {"directory": {}},
        {("head-node-replaced", "directory"), ("fleet-stop-needed", "directory")},
    ),
    ({"accounting": {}}, {("fleet-stop-needed", "accounting")}),
    (
        {"parallelcluster.slurm": {"idle_minutes": 5}},
        {("fleet-stop-needed", "parallelcluster.slurm.idle_minutes")},
    ),
    ({"storage.lustre.mount_path": "/data"}, {("fleet-stop-needed", "storage.lustre")}),
    ({"pools.gpu.instance_type": "g5.12xlarge"}, {("fleet-stop-needed", "pools.gpu.instance_type")}),
    # What ParallelCluster takes of a cluster at work.
    ({"pools.gpu.nodes": 9, "parallelcluster.min_nodes": {"gpu": 1}}, set()),
    (
        {
            "parallelcluster.login": {"login": {}, "more": {"nodes": 3}},
            "parallelcluster.monitoring": {"log_days": 7},
        },
        set(),
    ),
    (
        {
            "pools.more": {"instance_type": "c6i.4xlarge", "nodes": 2},
            "parallelcluster.pools": ["gpu", "more"],
        },
        set(),
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CASES)
@pytest.mark.parametrize("kind", ["settings", "configuration", "text"])
def test_updates(changes: dict[str, Any], expected: set[tuple[str, str]], kind: str) -> None:
    before, after = settings({}), settings(changes)
    deployed = {
        "settings": Deployed(settings=before),
        "configuration": Deployed(cluster=built(before)),
        "text": Deployed(cluster=as_text(built(before))),
    }[kind]
    found = {(finding.rule, finding.path) for finding in check(after, None, deployed)}
    assert {item for item in found if item[0] in RULES} == expected


def as_text(value: Any) -> Any:
    """Return a configuration as CloudFormation hands it to ParallelCluster: numbers and switches as text."""
    if isinstance(value, dict):
        return {key: as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_zone_of_the_head_node() -> None:
    """Settings tell it by themselves; of a cluster only subnets are known, and those of an existing network."""
    moved = {"parallelcluster.head_node": {"availability_zone": "us-west-2b"}}
    path = ("head-node-replaced", "parallelcluster.head_node.availability_zone")
    for network, compared in (({}, False), ({"network.existing": NETWORK}, True)):
        before, after = settings(network), settings(network | moved)
        by_settings = {(f.rule, f.path) for f in check(after, None, Deployed(settings=before))}
        by_cluster = {(f.rule, f.path) for f in check(after, None, Deployed(cluster=built(before)))}
        assert path in by_settings
        assert (path in by_cluster) is compared


def test_without_a_deployed_state_nothing_is_reported() -> None:
    assert not RULES & {finding.rule for finding in check(settings({"name": "other"}))}
    assert not RULES & {
        finding.rule
        for finding in check(settings({}), None, Deployed(settings=Settings.model_validate(changed({}))))
    }


def test_another_version_of_parallelcluster_updates_no_cluster() -> None:
    for version, count in (("3.13.0", 1), (PARALLELCLUSTER, 0), ("", 0)):
        deployed = Deployed(cluster=built(settings({})), version=version)
        found = [finding for finding in check(settings({}), None, deployed) if finding.rule in RULES]
        assert len(found) == count, version


def template(configuration: object) -> dict[str, Any]:
    url = f"https://b/parallelcluster/{PARALLELCLUSTER}/templates/custom_resource/cluster.yaml"
    return {
        "Resources": {
            "Provider": {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": url}},
            "Cluster": {
                "Type": "Custom::PclusterCluster",
                "Properties": {"ClusterConfiguration": configuration},
            },
        }
    }


def test_the_three_kinds_of_file(tmp_path: Path) -> None:
    chosen, path = settings({}), tmp_path / "deployed"
    path.write_text(yaml.safe_dump(built(chosen)))
    read_cluster, findings = read_deployed(path)
    assert (read_cluster, findings) == (Deployed(cluster=built(chosen)), ())
    for wrapped in (
        template(built(chosen)),
        {"TemplateBody": template(built(chosen)), "StagesAvailable": []},
    ):
        path.write_text(json.dumps(wrapped))
        read_template, findings = read_deployed(path)
        assert (read_template, findings) == (Deployed(cluster=built(chosen), version=PARALLELCLUSTER), ())
    path.write_text(yaml.safe_dump(changed(CLUSTER)))
    read_settings, findings = read_deployed(path)
    assert (read_settings, findings) == (Deployed(settings=chosen), ())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[1]", "not-a-mapping"),
        ("a: [", "not-yaml"),
        ("name: demo", "missing-key"),
        (json.dumps({"Resources": {}}), "deployed-unreadable"),
        (json.dumps({"Resources": [1]}), "deployed-unreadable"),
        (json.dumps({"TemplateBody": "a: !Ref b"}), "deployed-unreadable"),
        (json.dumps({"Resources": {"A": {"Type": "Custom::PclusterCluster"}}}), "deployed-unreadable"),
        (json.dumps(template("text")), "deployed-unreadable"),
    ],
)
def test_sections_that_cannot_be_compared_are_reported(tmp_path: Path, text: str, rule: str) -> None:
    path = tmp_path / "deployed"
    path.write_text(text)
    deployed, findings = read_deployed(path)
    assert deployed is None
    assert rule in {finding.rule for finding in findings}


def test_references_of_a_template_are_unknown() -> None:
    deployed = Deployed(
        cluster={"HeadNode": {"Networking": {"SubnetId": {"Ref": "S"}}, "Ssh": {"Fn::If": []}}}
    )
    assert deployed.at(("HeadNode", "Networking", "SubnetId")) is UNKNOWN
    assert deployed.at(("HeadNode", "Ssh", "KeyName")) is UNKNOWN
    assert deployed.at(("HeadNode", "Image")) is None


def test_an_acknowledgement_lets_it_pass_and_is_not_unused_without_a_comparison(tmp_path: Path) -> None:
    acknowledge = [{"rule": "head-node-replaced", "reason": "the cluster is destroyed and made anew tonight"}]
    changes = CLUSTER | {"parallelcluster.image": {"os": "ubuntu2404"}}
    path = tmp_path / "config.yaml"
    before = Deployed(settings=settings({}))
    path.write_text(yaml.safe_dump(changed(changes)))
    assert not read(path, before).ok
    path.write_text(yaml.safe_dump(changed(changes | {"acknowledge": acknowledge})))
    assert read(path, before).ok
    assert read(path).findings == ()
    path.write_text(yaml.safe_dump(changed(CLUSTER | {"acknowledge": acknowledge})))
    assert [finding.rule for finding in read(path, before).findings] == ["acknowledgement-unused"]
