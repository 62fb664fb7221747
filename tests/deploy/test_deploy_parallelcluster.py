"""A cluster by ParallelCluster, deployed by the real CDK CLI: resources, an update, refused changes, deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from emulator.cdk import CdkError
from emulator.inventory import left_over
from emulator.resources.resource import Kind
from tests.deploy.deployment import Deployment

STACK = "ParallelClusterStack"
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
parallelcluster:
  pools: [gpu, cpu]
  min_nodes: {cpu: 1}
  ssh: {allowed_addresses: [192.0.2.0/24]}
"""


def nodes(deployed: Deployment) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for page in deployed.client("ec2").get_paginator("describe_instances").paginate():
        for reservation in page["Reservations"]:
            for instance in reservation["Instances"]:
                if instance["State"]["Name"] == "running":
                    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
                    found.setdefault(tags["parallelcluster:node-type"], []).append(instance)
    return found


def test_the_stacks_are_complete_and_nothing_is_only_recorded(deployed: Deployment) -> None:
    for suffix in ("network", "storage", "parallelcluster"):
        stack = deployed.stack(suffix)
        assert stack.status == "CREATE_COMPLETE"
        assert stack.count(Kind.RECORDED) == 0


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
    assert deployed.cdk.deploy(STACK).text.count("(no changes)") == 3


def test_an_update_keeps_the_head_node(deployed: Deployment, file: Path) -> None:
    [before] = nodes(deployed)["HeadNode"]
    file.write_text(CONFIGURATION.replace("min_nodes: {cpu: 1}", "min_nodes: {cpu: 3}"), encoding="utf-8")
    deployed.cdk.deploy(STACK)
    [after] = nodes(deployed)["HeadNode"]
    assert after["InstanceId"] == before["InstanceId"]
    assert len(nodes(deployed)["Compute"]) == 5


def test_an_update_of_the_head_node_is_refused_and_rolled_back(deployed: Deployment, file: Path) -> None:
    """As ParallelCluster does; `trainforge validate --against` says so before."""
    [before] = nodes(deployed)["HeadNode"]
    changed = CONFIGURATION + "  head_node: {instance_type: m6i.4xlarge}\n"
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
    assert {kind for (kind, _), _ in excused} <= {"KMS key pending deletion"}
    assert nodes(deployed) == {}
