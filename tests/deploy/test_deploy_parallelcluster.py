"""A cluster by ParallelCluster and the pipeline of its machine image, deployed by the real CDK CLI: resources, an
update, refused changes, deletion."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from catalog.cluster_info import ClusterInfo
from catalog.image_builder import build_image_parameter, image_parameter
from emulator.cdk import CdkError
from emulator.inventory import left_over
from emulator.resources.resource import Kind
from emulator.server import LedgerResource
from tests.deploy.deployment import Deployment

STACK = "ParallelClusterStack"
OTHER_STACKS = ("ImageStack",)
CONFIGURATION = """
name: pc
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools:
  gpu:
    instance_type: g5.8xlarge
    nodes: 2
    availability_zone: us-west-2b
    capacity: {source: reservation, reservation_id: cr-0123456789abcdef0}
  cpu: {instance_type: c6i.4xlarge, nodes: 8, volume_gib: 100}
storage:
  lustre: {capacity_gib: 1200}
  openzfs: {capacity_gib: 128}
images:
  slurm: {playbook: parallelcluster-gpu, parent: ami-0123456789abcdef0}
parallelcluster:
  pools: [gpu, cpu]
  image: {os: ubuntu2404}
  min_nodes: {cpu: 1}
  ssh: {allowed_addresses: [192.0.2.0/24]}
"""
PARAMETER = image_parameter("pc", "slurm")


def nodes(deployed: Deployment) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for page in deployed.client("ec2").get_paginator("describe_instances").paginate():
        for reservation in page["Reservations"]:
            for instance in reservation["Instances"]:
                if instance["State"]["Name"] == "running":
                    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
                    found.setdefault(tags["parallelcluster:node-type"], []).append(instance)
    return found


def of_image_builder(deployed: Deployment) -> dict[str, LedgerResource]:
    """Return the resources of Image Builder by the last part of their type; of two components that which builds."""
    found = [entry for entry in deployed.stack("images").resources if "::ImageBuilder::" in entry.type]
    return {
        entry.type.rpartition(":")[2]: entry
        for entry in found
        if not entry.properties["Name"].endswith("-test")
    }


def build(deployed: Deployment) -> str:
    """Do what Image Builder does at the end of a build: register an image, and write its id where it is to be."""
    distribution = of_image_builder(deployed)["DistributionConfiguration"].properties["Distributions"][0]
    [parameter] = distribution["SsmParameterConfigurations"]
    image = deployed.client("ec2").register_image(Name=f"slurm-{uuid4()}", RootDeviceName="/dev/sda1")[
        "ImageId"
    ]
    deployed.client("ssm").put_parameter(
        Name=parameter["ParameterName"],
        Value=image,
        Type="String",
        DataType=parameter["DataType"],
        Overwrite=True,
    )
    return str(image)


def test_the_stacks_are_complete_and_nothing_is_only_recorded(deployed: Deployment) -> None:
    for suffix in ("network", "storage", "parallelcluster"):
        stack = deployed.stack(suffix)
        assert stack.status == "CREATE_COMPLETE"
        assert stack.count(Kind.RECORDED) == 0
    images = deployed.stack("images")
    assert images.status == "CREATE_COMPLETE"
    assert {entry.type for entry in images.resources if entry.kind is Kind.RECORDED} == {
        f"AWS::ImageBuilder::{name}"
        for name in (
            "Component",
            "DistributionConfiguration",
            "ImagePipeline",
            "ImageRecipe",
            "InfrastructureConfiguration",
            "LifecyclePolicy",
        )
    }


def test_a_pipeline_has_its_archive_and_people_hear_of_it(deployed: Deployment) -> None:
    made = of_image_builder(deployed)
    assert deployed.stack("images").outputs["SlurmPipeline"] == made["ImagePipeline"].physical_id
    document = json.loads(made["Component"].properties["Data"])
    [source] = [
        given["source"]
        for phase in document["phases"]
        for step in phase["steps"]
        for given in (step["inputs"] if step["action"] == "S3Download" else [])
    ]
    bucket, _, key = source.removeprefix("s3://").partition("/")
    archive = deployed.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        assert "machine_images/parallelcluster-gpu.yml" in members.getnames()
    topic = deployed.stack("images").outputs["NotificationTopic"]
    for rule in deployed.ids("images", "AWS::Events::Rule"):
        targets = deployed.client("events").list_targets_by_rule(Rule=rule)["Targets"]
        assert [target["Arn"] for target in targets] == [topic]
    value = deployed.client("ssm").get_parameter(Name=build_image_parameter("pc", "slurm"))["Parameter"][
        "Value"
    ]
    assert yaml.safe_load(value)["Build"]["Components"][0]["Value"] == made["Component"].physical_id


def test_running_nodes_are_head_login_and_reserved_or_minimum(deployed: Deployment) -> None:
    assert {kind: len(found) for kind, found in nodes(deployed).items()} == {
        "HeadNode": 1,
        "LoginNode": 1,
        "Compute": 3,
    }
    zones = {
        instance["InstanceType"]: instance["Placement"]["AvailabilityZone"]
        for instance in nodes(deployed)["Compute"]
    }
    for name in ("gpu", "cpu"):
        pool = deployed.settings.pools[name]
        assert zones[pool.instance_type] == pool.availability_zone


def test_port_22_is_open_to_the_given_addresses_only(deployed: Deployment) -> None:
    groups = deployed.client("ec2").describe_security_groups()["SecurityGroups"]
    ranges = [
        (group["GroupId"], range_["CidrIp"])
        for group in groups
        for rule in group["IpPermissions"]
        for range_ in rule["IpRanges"]
    ]
    [(group, addresses)] = ranges
    assert addresses == "192.0.2.0/24"
    [own] = deployed.ids("parallelcluster", "AWS::EC2::SecurityGroup")
    assert group == own


def test_the_cluster_info_has_the_targets_of_runs(deployed: Deployment) -> None:
    name = ClusterInfo.parameter_name("pc", "parallelcluster")
    info = ClusterInfo.from_json(deployed.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])
    [head] = nodes(deployed)["HeadNode"]
    assert info.cluster_id == head["InstanceId"]
    assert info.cluster_name == "pc-slurm"
    assert {mount.path for mount in info.mounts} == {"/fsx", "/home"}
    outputs = deployed.stack("parallelcluster").outputs
    assert outputs["HeadNodeId"] == head["InstanceId"]


def test_a_second_deployment_changes_nothing(deployed: Deployment) -> None:
    assert deployed.cdk.deploy(STACK, *OTHER_STACKS).text.count("(no changes)") == 4


def test_an_update_takes_the_version_of_the_image_that_is_named_and_keeps_the_head_node(
    deployed: Deployment, file: Path
) -> None:
    first, _newest = build(deployed), build(deployed)
    [before] = nodes(deployed)["HeadNode"]
    pipeline = of_image_builder(deployed)["ImagePipeline"].physical_id
    text = CONFIGURATION.replace("min_nodes: {cpu: 1}", "min_nodes: {cpu: 3}")
    text = text.replace("os: ubuntu2404", "os: ubuntu2404, from: slurm, version: 1")
    file.write_text(text.replace("abcdef0}\npar", "abcdef1, schedule: null}\npar"), encoding="utf-8")
    deployed.cdk.deploy(STACK, *OTHER_STACKS)
    [after] = nodes(deployed)["HeadNode"]
    assert after["InstanceId"] == before["InstanceId"]
    assert [node["ImageId"] for node in nodes(deployed)["Compute"]] == [first] * 5
    assert first not in {
        node["ImageId"] for kind in ("HeadNode", "LoginNode") for node in nodes(deployed)[kind]
    }
    made = of_image_builder(deployed)
    assert made["ImagePipeline"].physical_id == pipeline
    assert "Schedule" not in made["ImagePipeline"].properties
    # A recipe does not change under one version.
    assert made["ImageRecipe"].properties["ParentImage"] == "ami-0123456789abcdef1"
    assert made["ImagePipeline"].properties["ImageRecipeArn"] == made["ImageRecipe"].physical_id


def test_an_update_of_the_head_node_is_refused_and_rolled_back(deployed: Deployment, file: Path) -> None:
    """As ParallelCluster does; `trainforge validate --against` says so before."""
    [before] = nodes(deployed)["HeadNode"]
    changed = file.read_text(encoding="utf-8") + "  head_node: {instance_type: m6i.4xlarge}\n"
    file.write_text(changed, encoding="utf-8")
    with pytest.raises(CdkError):
        deployed.cdk.deploy(STACK)
    assert deployed.stack("parallelcluster").status == "UPDATE_ROLLBACK_COMPLETE"
    assert "HeadNode.InstanceType cannot be updated" in str(deployed.emulator.events())
    [after] = nodes(deployed)["HeadNode"]
    assert after["InstanceId"] == before["InstanceId"]


def test_nothing_is_left_after_destruction(deployed: Deployment, file: Path) -> None:
    file.write_text(CONFIGURATION, encoding="utf-8")
    deployed.cdk.destroy()
    wrong, excused = left_over(deployed.emulator, deployed.before)
    assert wrong == []
    # Images outlive the stack that built them.
    assert {item for item, _ in excused if item[0] != "KMS key pending deletion"} == {
        ("SSM parameter", PARAMETER)
    }
    assert nodes(deployed) == {}
