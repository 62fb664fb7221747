"""The deployed cluster with its role, topic and cluster info, and the deployment as a whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from emulator.resources.resource import Kind
from tests.deploy.deployment import STACK, Deployment


def test_three_stacks_are_complete_and_nothing_is_only_recorded(deployment: Deployment) -> None:
    for suffix in ("network", "storage", "hyperpod"):
        stack = deployment.stack(suffix)
        assert stack.status == "CREATE_COMPLETE"
        assert stack.count(Kind.RECORDED) == 0
        assert stack.count(Kind.CREATED) > 0
        assert stack.count(Kind.CREATED) + stack.count(Kind.ANSWERED) == len(stack.resources)


def test_what_a_person_needs_is_in_the_outputs(deployment: Deployment) -> None:
    outputs = deployment.stack("hyperpod").outputs
    assert set(outputs) >= {
        "ClusterName",
        "ClusterArn",
        "SessionDocument",
        "ClusterInfoParameter",
        "NotificationTopic",
    }
    assert outputs["ClusterArn"].startswith(f"arn:aws:sagemaker:{deployment.settings.region}:")
    assert f"{STACK}.ClusterName = {outputs['ClusterName']}" in deployment.outcome.text


def roles(cluster: dict[str, Any], kind: str) -> set[str]:
    """Return the ARNs of the roles that the cluster's nodes of a Slurm node type have."""
    return {
        item["ExecutionRole"] for item in cluster["InstanceGroups"] if item["SlurmConfig"]["NodeType"] == kind
    }


@pytest.fixture(scope="module")
def cluster(deployment: Deployment) -> dict[str, Any]:
    """Return the cluster as SageMaker describes it."""
    name = deployment.stack("hyperpod").outputs["ClusterName"]
    found: dict[str, Any] = deployment.client("sagemaker").describe_cluster(ClusterName=name)
    return found


def test_the_cluster_runs_slurm_and_provisions_continuously(cluster: dict[str, Any]) -> None:
    assert cluster["ClusterStatus"] == "InService"
    assert cluster["Orchestrator"]["Slurm"]["SlurmConfigStrategy"] == "Managed"
    assert cluster["NodeProvisioningMode"] == "Continuous"
    assert cluster["NodeRecovery"] == "Automatic"


def test_the_cluster_has_a_controller_and_a_group_a_pool(
    deployment: Deployment, cluster: dict[str, Any]
) -> None:
    groups = {item["InstanceGroupName"]: item for item in cluster["InstanceGroups"]}
    kinds = [item["SlurmConfig"]["NodeType"] for item in groups.values()]
    assert kinds.count("Controller") == 1
    hyperpod = deployment.settings.hyperpod
    assert hyperpod is not None
    zones = {
        item["SubnetId"]: item["AvailabilityZone"]
        for item in deployment.client("ec2").describe_subnets()["Subnets"]
    }
    for name in hyperpod.pools:
        pool, found = deployment.settings.pools[name], groups[name]
        assert found["InstanceType"] == f"ml.{pool.instance_type}"
        assert found["TargetCount"] == pool.nodes
        assert found["SlurmConfig"]["NodeType"] == "Compute"
        assert len(found["SlurmConfig"]["PartitionNames"]) == 1
        (subnet,) = found["OverrideVpcConfig"]["Subnets"]
        assert zones[subnet] == pool.availability_zone
        assert found["OverrideVpcConfig"]["SecurityGroupIds"] == [
            deployment.group("efa_security_group_id")["GroupId"]
        ]


def test_every_group_mounts_both_file_systems(deployment: Deployment, cluster: dict[str, Any]) -> None:
    lustre, home = (deployment.file_system(kind) for kind in ("LUSTRE", "OPENZFS"))
    for item in cluster["InstanceGroups"]:
        mounts = {key: value for part in item["InstanceStorageConfigs"] for key, value in part.items()}
        assert mounts["FsxLustreConfig"]["DnsName"] == lustre["DNSName"]
        assert mounts["FsxLustreConfig"]["MountName"] == lustre["LustreConfiguration"]["MountName"]
        assert mounts["FsxOpenZfsConfig"]["DnsName"] == home["DNSName"]


@pytest.mark.parametrize("kind", ["Controller", "Compute"])
def test_the_nodes_role_is_for_sagemaker_and_may_find_file_systems(
    deployment: Deployment, cluster: dict[str, Any], kind: str
) -> None:
    iam = deployment.client("iam")
    (arn,) = roles(cluster, kind)
    role = iam.get_role(RoleName=arn.split("/")[-1])["Role"]
    principals = [item["Principal"]["Service"] for item in role["AssumeRolePolicyDocument"]["Statement"]]
    assert principals == ["sagemaker.amazonaws.com"]
    documents = [
        iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
    ]
    actions = {
        action
        for document in documents
        for statement in document["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert "fsx:DescribeFileSystems" in actions
    assert not [action for action in actions if action.endswith("*")]


def test_the_controller_alone_has_the_controllers_role(cluster: dict[str, Any]) -> None:
    """It may read the accounting database's password, and jobs on the other nodes may not."""
    assert not roles(cluster, "Controller") & roles(cluster, "Compute")
    assert not roles(cluster, "Controller") & roles(cluster, "Login")


def test_events_of_the_cluster_reach_an_encrypted_topic(
    deployment: Deployment, cluster: dict[str, Any]
) -> None:
    topic = deployment.stack("hyperpod").outputs["NotificationTopic"]
    facts = deployment.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    assert facts["KmsMasterKeyId"]
    # Rules publish by a role: the service itself, which acts for any account, is not let in.
    assert "events.amazonaws.com" not in facts["Policy"]
    events = deployment.client("events")
    rules = deployment.ids("hyperpod", "AWS::Events::Rule")
    assert rules
    for name in rules:
        pattern = json.loads(events.describe_rule(Name=name)["EventPattern"])
        assert pattern["source"] == ["aws.sagemaker"]
        assert cluster["ClusterName"] in json.dumps(pattern["detail"])
        [target] = events.list_targets_by_rule(Rule=name)["Targets"]
        assert target["Arn"] == topic
        assert ":role/" in target["RoleArn"]


def test_the_cluster_info_has_the_targets_of_runs(deployment: Deployment, cluster: dict[str, Any]) -> None:
    name = ClusterInfo.parameter_name(deployment.settings.name, "hyperpod")
    info = ClusterInfo.from_json(deployment.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])
    assert info.cluster_name == cluster["ClusterName"]
    assert cluster["ClusterArn"].endswith(f":cluster/{info.cluster_id}")
    assert info.data_bucket == deployment.stack("storage").outputs["DataBucketName"]
    assert {mount.kind: mount.file_system_id for mount in info.mounts} == {
        "lustre": deployment.file_system("LUSTRE")["FileSystemId"],
        "openzfs": deployment.file_system("OPENZFS")["FileSystemId"],
    }
    assert {info.roles["node"]} == roles(cluster, "Compute")
    assert info.session_document in deployment.ids("hyperpod", "AWS::SSM::Document")
