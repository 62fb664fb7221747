"""EKS: versions, add-ons, and what a node group and its launch template may say together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from emulator.refusals.refusal import number, refuses
from emulator.resources.resource import Resource

# EKS user guide, "Amazon EKS Kubernetes release calendar": extended support of 1.31 ended on 26 November 2026.
_OLDEST = (1, 32)
# EKS user guide, "AWS add-ons" and "Community add-ons"; SageMaker guide for those of HyperPod.
_ADD_ONS = frozenset(
    {
        "adot",
        "amazon-cloudwatch-observability",
        "amazon-sagemaker-hyperpod-observability",
        "amazon-sagemaker-hyperpod-taskgovernance",
        "amazon-sagemaker-hyperpod-training-operator",
        "aws-ebs-csi-driver",
        "aws-efs-csi-driver",
        "aws-fsx-csi-driver",
        "aws-guardduty-agent",
        "aws-mountpoint-s3-csi-driver",
        "cert-manager",
        "coredns",
        "eks-node-monitoring-agent",
        "eks-pod-identity-agent",
        "kube-proxy",
        "kube-state-metrics",
        "metrics-server",
        "prometheus-node-exporter",
        "snapshot-controller",
        "vpc-cni",
    }
)


@refuses("AWS::EKS::Cluster")
def _version(resource: Resource) -> Iterator[str]:
    """A cluster is made with a version that is supported still."""
    version = resource.properties.get("Version")
    if version and tuple(map(int, str(version).split("."))) < _OLDEST:
        yield f"unsupported Kubernetes version {version}"


@refuses("AWS::EKS::Addon")
def _add_on(resource: Resource) -> Iterator[str]:
    """An add-on is one that EKS has."""
    name = resource.properties.get("AddonName")
    if name not in _ADD_ONS:
        yield f"Addon {name} specified is not supported (the emulator knows {', '.join(sorted(_ADD_ONS))})"


@refuses("AWS::EKS::Nodegroup")
def _sizes(resource: Resource) -> Iterator[str]:
    """The sizes of a group are in order."""
    scaling = resource.properties.get("ScalingConfig", {})
    least, desired, most = (number(scaling.get(name)) for name in ("MinSize", "DesiredSize", "MaxSize"))
    if least is not None and most is not None and least > most:
        yield f"Minimum capacity {least} can't be greater than maximum size {most}"
    if desired is not None and least is not None and desired < least:
        yield f"Minimum capacity {least} can't be greater than desired size {desired}"
    if desired is not None and most is not None and desired > most:
        yield f"Desired capacity {desired} can't be greater than max size {most}"


@refuses("AWS::EKS::Nodegroup")
def _template(resource: Resource) -> Iterator[str]:
    """A launch template and its group do not contradict each other (EKS user guide, "Customize managed nodes")."""
    properties = resource.properties
    data = _launch_template(resource)
    group_types = properties.get("InstanceTypes", [])
    own_type = data.get("InstanceType")
    if own_type and group_types:
        yield "Instance type must be specified in the launch template or in the node group, not in both"
    types = group_types or ([own_type] if own_type else [])
    yield from _types(resource, types, data)
    market = data.get("InstanceMarketOptions", {}).get("MarketType")
    if properties.get("CapacityType") == "CAPACITY_BLOCK" and market != "capacity-block":
        yield "CAPACITY_BLOCK needs a launch template whose market type is capacity-block"
    if data.get("NetworkInterfaces") and data.get("SecurityGroupIds"):
        yield "Network interfaces and instance-level security groups may not be specified together"


def _types(resource: Resource, types: list[str], data: dict[str, Any]) -> Iterator[str]:
    """Types exist, and take the EFA interfaces that the template asks for."""
    ec2 = resource.aws("ec2")
    efa = [
        port for port in data.get("NetworkInterfaces", []) if port.get("InterfaceType") in ("efa", "efa-only")
    ]
    for name in types:
        try:
            [facts] = ec2.describe_instance_types(InstanceTypes=[name])["InstanceTypes"]
        except (ClientError, ValueError):
            yield f"The instance type '{name}' does not exist"
            continue
        network = facts.get("NetworkInfo", {})
        most = network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0) if network.get("EfaSupported") else 0
        if len(efa) > most:
            yield f"{len(efa)} EFA interfaces: the instance type '{name}' takes {most}"


def _launch_template(resource: Resource) -> dict[str, Any]:
    named = resource.properties.get("LaunchTemplate")
    if not named:
        return {}
    key = "LaunchTemplateId" if named.get("Id") else "LaunchTemplateName"
    answer = resource.aws("ec2").describe_launch_template_versions(
        **{key: named.get("Id") or named.get("Name")}, Versions=[str(named.get("Version", "$Default"))]
    )
    data: dict[str, Any] = answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return data
