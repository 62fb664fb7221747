"""EKS clusters, node groups and add-ons: templates that AWS refuses, and templates that it takes."""

from __future__ import annotations

from typing import Any

from tests.emulator.formation import att, ref
from tests.emulator.refusal_cases.entry import Entry, role
from tests.emulator.refusal_cases.network import VPC


def node_group(template: dict[str, Any] | None = None, **changes: Any) -> dict[str, Entry]:
    given: dict[str, Any] = {
        "ClusterName": ref("Cluster"),
        "NodeRole": att("NodeRole", "Arn"),
        "Subnets": [ref("One")],
        "ScalingConfig": {"MinSize": 0, "DesiredSize": 1, "MaxSize": 2},
        **changes,
    }
    found = eks_cluster() | {"NodeRole": role("ec2"), "It": ("AWS::EKS::Nodegroup", given)}
    if template is not None:
        found["Template"] = ("AWS::EC2::LaunchTemplate", {"LaunchTemplateData": template})
        given["LaunchTemplate"] = {"Id": ref("Template"), "Version": "1"}
    return found


def eks_cluster(**changes: Any) -> dict[str, Entry]:
    given = {
        "Name": "refusals",
        "RoleArn": att("ClusterRole", "Arn"),
        "ResourcesVpcConfig": {"SubnetIds": [ref("One"), ref("Two")]},
        **changes,
    }
    return VPC | {"ClusterRole": role("eks"), "Cluster": ("AWS::EKS::Cluster", given)}


def add_on(name: str) -> dict[str, Entry]:
    return eks_cluster() | {"It": ("AWS::EKS::Addon", {"ClusterName": ref("Cluster"), "AddonName": name})}


EFA_PORT = {"DeviceIndex": 0, "NetworkCardIndex": 0, "InterfaceType": "efa"}


def without(name: str, template: dict[str, Entry]) -> dict[str, Entry]:
    """Return a template whose resource `It` lacks a property."""
    kind, properties = template["It"]
    return template | {"It": (kind, {key: value for key, value in properties.items() if key != name})}


def newest_template() -> dict[str, Entry]:
    found = node_group({"InstanceType": "m5.large"})
    found["It"][1]["LaunchTemplate"]["Version"] = "$Latest"
    return found


REFUSED: dict[str, tuple[dict[str, Entry], str]] = {
    "EKS version": (eks_cluster(Version="1.10"), "unsupported Kubernetes version 1.10"),
    "add-on": (add_on("no-such-add-on"), "Addon no-such-add-on specified is not supported"),
    "node group of an unknown type": (
        node_group(InstanceTypes=["p99.48xlarge"]),
        "'p99.48xlarge' does not exist",
    ),
    "node group with min over max": (
        node_group(ScalingConfig={"MinSize": 3, "DesiredSize": 3, "MaxSize": 2}),
        "Minimum capacity 3",
    ),
    "EFA on a type without": (
        node_group({"InstanceType": "t3.micro", "NetworkInterfaces": [EFA_PORT]}),
        "takes 0",
    ),
    "type in template and group": (
        node_group({"InstanceType": "c6i.4xlarge"}, InstanceTypes=["c6i.4xlarge"]),
        "not in both",
    ),
    "capacity block without its market": (
        node_group({"InstanceType": "p5.48xlarge"}, CapacityType="CAPACITY_BLOCK"),
        "market type is capacity-block",
    ),
}

TAKEN: dict[str, dict[str, Entry]] = {
    "EFA": node_group({"InstanceType": "p5.48xlarge", "NetworkInterfaces": [EFA_PORT]}),
    "newest launch template": newest_template(),
    "node group without sizes": without("ScalingConfig", node_group(InstanceTypes=["m5.large"])),
    "add-on": add_on("kube-proxy"),
}
