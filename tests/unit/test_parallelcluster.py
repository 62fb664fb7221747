"""The ParallelCluster stack: provider, cluster, what nodes may do, and what people and tools get."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from catalog.versions import PARALLELCLUSTER
from tests.synthesis import Synthesis, synthesize

STACK = "ParallelClusterStack"
CONFIGURATION = "config/parallelcluster.yaml"


@pytest.fixture(scope="module")
def synthesized(synthesis: Callable[[str], Synthesis]) -> Synthesis:
    return synthesis(CONFIGURATION)


def cluster(synthesized: Synthesis) -> dict[str, Any]:
    return synthesized.only(STACK, "Custom::PclusterCluster")


def policies(synthesized: Synthesis) -> dict[str, dict[str, Any]]:
    resources = synthesized.templates[STACK]["Resources"]
    return {
        logical_id: resource["Properties"]
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::IAM::ManagedPolicy"
    }


def test_the_provider_is_parallelclusters_own_of_the_pinned_version_and_the_region(
    synthesized: Synthesis,
) -> None:
    stack = synthesized.only(STACK, "AWS::CloudFormation::Stack")
    assert stack["TemplateURL"]["Fn::Join"][1] == [
        "https://us-west-2-aws-parallelcluster.s3.us-west-2.",
        {"Ref": "AWS::URLSuffix"},
        f"/parallelcluster/{PARALLELCLUSTER}/templates/custom_resource/cluster.yaml",
    ]


def test_the_cluster_is_made_by_the_provider_under_another_name_than_the_stacks(
    synthesized: Synthesis,
) -> None:
    properties = cluster(synthesized)
    [(provider, _)] = [
        (logical_id, resource)
        for logical_id, resource in synthesized.templates[STACK]["Resources"].items()
        if resource["Type"] == "AWS::CloudFormation::Stack"
    ]
    assert properties["ServiceToken"] == {"Fn::GetAtt": [provider, "Outputs.ServiceToken"]}
    assert properties["ClusterName"] == "pc-slurm"
    assert "SuppressValidators" not in properties


def test_the_providers_limits_allow_this_cluster_only(synthesized: Synthesis) -> None:
    [restriction] = [policy for policy in policies(synthesized).values() if _effects(policy) == {"Deny"}]
    statements = {statement["Sid"]: statement for statement in restriction["PolicyDocument"]["Statement"]}
    assert "iam:PassRole" in statements["OtherRoles"]["Action"]
    assert "iam:CreateRole" in statements["OtherRoles"]["Action"]
    allowed = json.dumps(statements["OtherRoles"]["NotResource"])
    prefix = cluster(synthesized)["ClusterConfiguration"]["Iam"]["ResourcePrefix"]
    assert allowed.count(f"{prefix}*") == 2
    stacks = json.dumps(statements["OtherStacks"]["NotResource"])
    assert ":stack/pc-slurm/*" in stacks
    assert ":stack/pc-slurm-*" in stacks
    assert statements["OtherRegions"]["Condition"] == {
        "StringNotEquals": {"aws:RequestedRegion": "us-west-2"}
    }
    attached = statements["OtherPolicies"]["Condition"]["ArnNotEquals"]["iam:PolicyARN"]
    own = [{"Ref": name} for name, policy in policies(synthesized).items() if "Allow" in _effects(policy)]
    assert [item for item in attached if isinstance(item, dict)] == own


def test_policies_of_nodes_lie_where_the_provider_may_attach_them_from(synthesized: Synthesis) -> None:
    """ParallelCluster's policy for the provider attaches only policies below /parallelcluster/."""
    of_nodes = {name: policy for name, policy in policies(synthesized).items() if "Allow" in _effects(policy)}
    assert {policy["Path"] for policy in of_nodes.values()} == {"/parallelcluster/pc-slurm/"}
    configuration = cluster(synthesized)["ClusterConfiguration"]
    for nodes in (
        configuration["HeadNode"],
        *configuration["Scheduling"]["SlurmQueues"],
        *configuration["LoginNodes"]["Pools"],
    ):
        listed = [entry["Policy"] for entry in nodes["Iam"]["AdditionalIamPolicies"]]
        assert listed == [{"Ref": name} for name in of_nodes]


def test_nodes_open_sessions_pull_images_and_read_their_cluster_info_and_scripts(
    synthesized: Synthesis,
) -> None:
    text = json.dumps(policies(synthesized))
    for action in ("ssmmessages:OpenDataChannel", "ecr:BatchGetImage", "s3:PutObject", "ssm:GetParameter"):
        assert f'"{action}"' in text
    assert f"parameter{ClusterInfo.parameter_name('pc', 'parallelcluster')}" in text


def _effects(policy: dict[str, Any]) -> set[str]:
    return {statement["Effect"] for statement in policy["PolicyDocument"]["Statement"]}


def test_the_cluster_waits_for_policies_images_and_scripts(synthesized: Synthesis) -> None:
    [resource] = synthesized.resources(STACK, "Custom::PclusterCluster")
    kinds = {synthesized.templates[STACK]["Resources"][name]["Type"] for name in resource["DependsOn"]}
    assert kinds >= {
        "AWS::IAM::ManagedPolicy",
        "Custom::CDKContainerImageBuild",
        "Custom::CDKBucketDeployment",
    }


def test_every_node_runs_our_set_up_from_our_bucket(synthesized: Synthesis) -> None:
    configuration = cluster(synthesized)["ClusterConfiguration"]
    scripts = json.dumps(_all(configuration, "Script"))
    assert "raw.githubusercontent" not in scripts
    assert scripts.count("/parallelcluster/actions/set-up-node") == len(_all(configuration, "Script"))
    head = configuration["HeadNode"]["CustomActions"]
    assert (
        head["OnNodeUpdated"]["Sequence"][0]["Args"][:-1] == head["OnNodeConfigured"]["Sequence"][0]["Args"]
    )


DIRECTORY = """
name: pc
region: us-west-2
availability_zones: [us-west-2a]
pools: {cpu: {instance_type: c6i.4xlarge, nodes: 1}}
storage: {openzfs: {capacity_gib: 128, mount_path: /shared}}
directory: {users: [{name: ana, uid: 2001}]}
parallelcluster: {pools: [cpu]}
"""


def test_people_of_the_directory_keep_their_ids_and_homes_on_shared_storage(tmp_path: Path) -> None:
    """ParallelCluster's defaults are Active Directory's: ids made out of its own, which OpenLDAP has not."""
    file = tmp_path / "directory.yaml"
    file.write_text(DIRECTORY, encoding="utf-8")
    section = cluster(synthesize(file, tmp_path / "out"))["ClusterConfiguration"]["DirectoryService"]
    more = section["AdditionalSssdConfigs"]
    assert (more["ldap_schema"], more["ldap_id_mapping"]) == ("rfc2307", "false")
    # People who are new in the group of all people get homes; SSSD keeps groups for 90 minutes by default.
    assert more["entry_cache_group_timeout"] == "300"
    assert more["override_homedir"] == "/shared/%u"
    assert section["LdapTlsReqCert"] == "hard"


def test_no_port_is_open_by_a_group_that_can_take_addresses_later(synthesized: Synthesis) -> None:
    """ParallelCluster gives login nodes at work no further group, but rules of one that they have are EC2's."""
    group = synthesized.only(STACK, "AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert synthesized.resources(STACK, "AWS::EC2::SecurityGroupIngress") == []
    configuration = cluster(synthesized)["ClusterConfiguration"]
    for nodes in (configuration["HeadNode"], *configuration["LoginNodes"]["Pools"]):
        groups = json.dumps(nodes["Networking"]["SecurityGroups"])
        assert '{"Fn::GetAtt": ["Ssh' in groups
    assert "Ssh" not in json.dumps([q["Networking"] for q in configuration["Scheduling"]["SlurmQueues"]])


def test_a_database_changes_nothing_that_an_existing_head_node_refuses(
    synthesis: Callable[[str], Synthesis],
) -> None:
    """ParallelCluster refuses other arguments of OnNodeConfigured on head and login nodes."""
    configuration = cluster(synthesis("config/accounting-and-directory.yaml"))["ClusterConfiguration"]
    assert "Database" in configuration["Scheduling"]["SlurmSettings"]
    for nodes in (configuration["HeadNode"], *configuration["LoginNodes"]["Pools"]):
        [action] = nodes["CustomActions"]["OnNodeConfigured"]["Sequence"]
        assert action["Args"] == ["configured"]


def _all(value: Any, name: str) -> list[Any]:
    if isinstance(value, dict):
        return [
            item for key, inner in value.items() for item in ([inner] if key == name else _all(inner, name))
        ]
    return [item for inner in value for item in _all(inner, name)] if isinstance(value, list) else []


def test_what_people_and_tools_get(synthesized: Synthesis) -> None:
    outputs = synthesized.templates[STACK]["Outputs"]
    assert {
        "ClusterName",
        "HeadNodeId",
        "SessionDocument",
        "NotificationTopic",
        "ClusterInfoParameter",
    } <= outputs.keys()
    value = json.dumps(synthesized.template(STACK).find_resources("AWS::SSM::Parameter"))
    for part in ("parallelcluster", "pc-slurm", "/fsx/data/launch/parallelcluster", "headNode.instanceId"):
        assert part in value
    [document] = synthesized.resources(STACK, "AWS::SSM::Document")
    assert document["Properties"]["Content"]["inputs"]["runAsDefaultUser"] == "ubuntu"


def test_events_of_this_cluster_reach_the_topic(synthesized: Synthesis) -> None:
    patterns = [
        rule["Properties"]["EventPattern"] for rule in synthesized.resources(STACK, "AWS::Events::Rule")
    ]
    by_source = {pattern["source"][0]: pattern["detail"] for pattern in patterns}
    assert by_source["aws.cloudwatch"] == {"alarmName": [{"prefix": "pc-slurm-HeadNode"}]}
    assert "stack/pc-slurm/" in json.dumps(by_source["aws.cloudformation"])


def test_jobs_are_requeued_and_not_resumed_as_on_hyperpod(synthesized: Synthesis) -> None:
    texts = [path.read_text(encoding="utf-8") for path in synthesized.folder.glob("asset.*/**/*.sbatch")]
    text = next(text for text in texts if "cluster 'parallelcluster'" in text)
    assert "#SBATCH --requeue" in text
    assert "--auto-resume" not in text
