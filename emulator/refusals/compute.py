"""HyperPod's types, Auto Scaling's sizes, and Batch's user data and nodes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from botocore.session import get_session

from emulator.refusals.refusal import number, refuses
from emulator.resources.resource import Resource


@lru_cache
def _hyperpod_types() -> frozenset[str]:
    """Return the instance types that HyperPod's API lists (botocore: ClusterInstanceType)."""
    shape: Any = get_session().get_service_model("sagemaker").shape_for("ClusterInstanceType")
    return frozenset(shape.enum)


@refuses("AWS::SageMaker::Cluster")
def _hyperpod(resource: Resource) -> Iterator[str]:
    """Types are HyperPod's, and a training plan is of the cluster's region (the emulator holds no plans)."""
    for group in resource.properties.get("InstanceGroups", []):
        name, kind = group.get("InstanceGroupName"), group.get("InstanceType")
        if kind is not None and kind not in _hyperpod_types():
            yield f"instance group '{name}': '{kind}' is not an instance type of HyperPod"
        plan = group.get("TrainingPlanArn")
        if plan and f":sagemaker:{resource.context.region}:" not in plan:
            yield f"instance group '{name}': training plan '{plan}' is of another region"


@refuses("AWS::AutoScaling::AutoScalingGroup")
def _auto_scaling(resource: Resource) -> Iterator[str]:
    """The sizes of a group are in order."""
    least, most = (number(resource.properties.get(name)) for name in ("MinSize", "MaxSize"))
    desired = number(resource.properties.get("DesiredCapacity"))
    if least is not None and most is not None and least > most:
        yield f"Max bound, {most}, must be greater than or equal to min bound, {least}"
    if desired is not None and not (least or 0) <= desired <= (desired if most is None else most):
        yield f"Desired capacity:{desired} must be between the specified min size:{least} and max size:{most}"


@refuses("AWS::Batch::ComputeEnvironment")
def _batch_hosts(resource: Resource) -> Iterator[str]:
    """User data is MIME (Batch user guide, "Use Amazon EC2 launch templates")."""
    named = resource.properties.get("ComputeResources", {}).get("LaunchTemplate")
    if not named:
        return
    key = "LaunchTemplateId" if named.get("LaunchTemplateId") else "LaunchTemplateName"
    answer = resource.aws("ec2").describe_launch_template_versions(
        **{key: named[key]}, Versions=[str(named.get("Version", "$Default"))]
    )
    data = answer["LaunchTemplateVersions"][0]["LaunchTemplateData"].get("UserData")
    text = base64.b64decode(data).decode(errors="replace") if data else ""
    if data and not text.lstrip().lower().startswith(("mime-version:", "content-type: multipart/")):
        yield "the launch template's user data must be in the MIME multi-part archive format"


@refuses("AWS::Batch::JobDefinition")
def _nodes(resource: Resource) -> Iterator[str]:
    """The main node is one of a job's nodes (Batch API reference, NodeProperties)."""
    nodes = resource.properties.get("NodeProperties")
    if not nodes:
        return
    count, main = number(nodes.get("NumNodes")), number(nodes.get("MainNode"))
    if count is not None and main is not None and not 0 <= main < count:
        yield f"mainNode {main} must be smaller than numNodes {count}"
