"""The HyperPod cluster: described as it was asked for, updated by groups, and refused where it names nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.formation import Formation, Template, att, ref, resources
from tests.emulator.test_emulator_storage import NETWORK

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
CANONICALS = "ami-1e749f67"
"""An image of Ubuntu that the emulator's EC2 has."""


def cluster(**more: Any) -> tuple[str, dict[str, Any]]:
    return "AWS::SageMaker::Cluster", {
        "ClusterName": "emulator-cluster",
        "Orchestrator": {"Slurm": {"SlurmConfigStrategy": "Managed"}},
        "NodeProvisioningMode": "Continuous",
        "NodeRecovery": "Automatic",
        "VpcConfig": {"Subnets": [ref("Subnet")], "SecurityGroupIds": [ref("Group")]},
        "InstanceGroups": [
            group("controller", 1, {"NodeType": "Controller"}),
            group("workers", 2, {"NodeType": "Compute", "PartitionNames": ["gpu"]}),
        ],
        **more,
    }


def group(name: str, count: int, slurm: dict[str, Any]) -> dict[str, Any]:
    return {
        "InstanceGroupName": name,
        "InstanceType": "ml.m5.xlarge",
        "InstanceCount": count,
        "ExecutionRole": att("Role", "Arn"),
        "SlurmConfig": slurm,
        "InstanceStorageConfigs": [{"EbsVolumeConfig": {"VolumeSizeInGB": 100}}],
    }


def cluster_template(**more: Any) -> Template:
    role = ("AWS::IAM::Role", {"AssumeRolePolicyDocument": TRUST})
    return resources(**NETWORK, Role=role, Cluster=cluster(**more))


def test_a_cluster_is_described_as_it_was_asked_for(formation: Formation) -> None:
    template = cluster_template(Tags=[{"Key": "team", "Value": "a"}])
    template["Outputs"] = {
        "Status": {"Value": att("Cluster", "ClusterStatus")},
        "Ref": {"Value": ref("Cluster")},
    }
    sagemaker = formation.emulator.client("sagemaker")
    with formation.deployed(template) as name:
        found = sagemaker.describe_cluster(ClusterName="emulator-cluster")
        assert formation.outputs(name) == {"Status": "InService", "Ref": found["ClusterArn"]}
        assert found["Orchestrator"] == {"Slurm": {"SlurmConfigStrategy": "Managed"}}
        assert (found["NodeProvisioningMode"], found["NodeRecovery"]) == ("Continuous", "Automatic")
        workers = found["InstanceGroups"][1]
        assert workers["SlurmConfig"] == {"NodeType": "Compute", "PartitionNames": ["gpu"]}
        assert (workers["TargetCount"], workers["CurrentCount"]) == (2, 2)
        assert workers["InstanceStorageConfigs"] == [{"EbsVolumeConfig": {"VolumeSizeInGB": 100}}]
        by_arn = sagemaker.list_cluster_nodes(ClusterName=found["ClusterArn"])["ClusterNodeSummaries"]
        assert sorted(node["InstanceGroupName"] for node in by_arn) == ["controller", "workers", "workers"]
        assert sagemaker.list_tags(ResourceArn=found["ClusterArn"])["Tags"] == [{"Key": "team", "Value": "a"}]
        groups = template["Resources"]["Cluster"]["Properties"]["InstanceGroups"]
        groups[1] = group("others", 3, {"NodeType": "Compute", "PartitionNames": ["cpu"]})
        own = formation.emulator.client("ec2").register_image(Name="hyperpod-own")["ImageId"]
        groups[1] |= {
            "ImageId": own,
            "AutoPatchConfig": {"PatchingStrategy": "WhenIdle"},
        }
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        after = sagemaker.describe_cluster(ClusterName="emulator-cluster")
        assert after["ClusterArn"] == found["ClusterArn"]
        counts = {item["InstanceGroupName"]: item["CurrentCount"] for item in after["InstanceGroups"]}
        assert counts == {"controller": 1, "others": 3}
        others = after["InstanceGroups"][1]
        assert others["CurrentImageId"] == others["DesiredImageId"] == own
        assert others["AutoPatchConfig"]["PatchingStrategy"] == "WhenIdle"
        kept = sagemaker.list_cluster_nodes(
            ClusterName="emulator-cluster", InstanceGroupNameContains="controller"
        )
        controller = [node for node in by_arn if node["InstanceGroupName"] == "controller"]
        assert [node["InstanceId"] for node in kept["ClusterNodeSummaries"]] == [controller[0]["InstanceId"]]
    assert sagemaker.list_clusters()["ClusterSummaries"] == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ExecutionRole": "arn:aws:iam::123456789012:role/nobody"}, "role/nobody' does not exist"),
        (
            {"LifeCycleConfig": {"SourceS3Uri": "s3://scripts/x", "OnCreate": "on_create.sh"}},
            "does not start with 's3://sagemaker-'",
        ),
        (
            {
                "OverrideVpcConfig": {
                    "Subnets": ["subnet-0123456789abcdef0"],
                    "SecurityGroupIds": [ref("Group")],
                }
            },
            "subnet 'subnet-0123456789abcdef0' does not exist",
        ),
        ({"InstanceGroupName": "controller"}, "'controller' is given twice"),
        ({"ImageReleaseVersion": "1.2.3"}, "for clusters that EKS orchestrates only"),
        (
            {"ImageReleaseVersion": "1.2.3", "ImageId": "ami-0123456789abcdef0"},
            "'workers' is no version of its ImageId",
        ),
        ({"ImageId": "latest"}, "'latest' does not match"),
        ({"ImageId": "ami-0123456789abcdef0"}, "'ami-0123456789abcdef0' of 'workers' does not exist"),
        ({"ImageId": CANONICALS}, f"'{CANONICALS}' of 'workers' is not owned by the account of the cluster"),
        (
            {
                "ScheduledUpdateConfig": {
                    "ScheduleExpression": "cron(0 4 1 * ? *)",
                    "DeploymentConfig": {
                        "RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1}}
                    },
                }
            },
            "in batches are available for clusters that EKS",
        ),
    ],
)
def test_a_cluster_needs_what_it_names(formation: Formation, change: dict[str, Any], reason: str) -> None:
    template = cluster_template()
    template["Resources"]["Cluster"]["Properties"]["InstanceGroups"][1] |= change
    name = formation.create(template)
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert reason in formation.reasons(name)
