"""Roles that services take: each must exist, and its trust policy must name the service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jmespath  # type: ignore[import-untyped]
from botocore.exceptions import ClientError

from emulator.refusals.refusal import refuses, statements
from emulator.resources.resource import Resource

_ASSUMED: dict[str, tuple[tuple[str, str], ...]] = {
    "AWS::Lambda::Function": (("Role", "lambda"),),
    "AWS::EKS::Cluster": (("RoleArn", "eks"),),
    "AWS::EKS::Nodegroup": (("NodeRole", "ec2"),),
    "AWS::EKS::PodIdentityAssociation": (("RoleArn", "pods.eks"),),
    "AWS::EKS::Addon": (("PodIdentityAssociations[].RoleArn", "pods.eks"),),
    "AWS::SageMaker::Cluster": (("InstanceGroups[].ExecutionRole", "sagemaker"),),
    "AWS::EC2::FlowLog": (("DeliverLogsPermissionArn", "vpc-flow-logs"),),
    "AWS::Events::Rule": (("Targets[].RoleArn", "events"),),
    "AWS::CodeBuild::Project": (("ServiceRole", "codebuild"),),
    "AWS::Batch::ComputeEnvironment": (("ServiceRole", "batch"),),
    "AWS::Batch::JobDefinition": (
        ("NodeProperties.NodeRangeProperties[].EcsProperties.TaskProperties[].TaskRoleArn", "ecs-tasks"),
        ("NodeProperties.NodeRangeProperties[].EcsProperties.TaskProperties[].ExecutionRoleArn", "ecs-tasks"),
        ("ContainerProperties.[JobRoleArn, ExecutionRoleArn][]", "ecs-tasks"),
    ),
}
"""The property of a type that names a role (a JMESPath), and the service that assumes it, without its domain."""


@refuses(*_ASSUMED)
def _assumable(resource: Resource) -> Iterator[str]:
    """The service must be allowed to assume the role, or it refuses it."""
    for path, service in _ASSUMED[resource.resource_type]:
        found = jmespath.search(path, resource.properties) or []
        for arn in dict.fromkeys([found] if isinstance(found, str) else found):
            if isinstance(arn, str) and f":{resource.context.account}:role/" in arn:
                yield from _refused(resource, arn, service)


def _refused(resource: Resource, arn: str, service: str) -> Iterator[str]:
    name = arn.rsplit("/", 1)[-1]
    try:
        role = resource.aws("iam").get_role(RoleName=name)["Role"]
    except ClientError:
        yield f"The role '{arn}' does not exist"
        return
    if not any(_trusts(statement, service) for statement in statements(role["AssumeRolePolicyDocument"])):
        yield f"The role '{arn}' cannot be assumed by {service}.amazonaws.com"


def _trusts(statement: dict[str, Any], service: str) -> bool:
    principal = statement.get("Principal", {})
    services = principal.get("Service", []) if isinstance(principal, dict) else []
    services = [services] if isinstance(services, str) else services
    actions = statement.get("Action", [])
    actions = [actions] if isinstance(actions, str) else actions
    return (
        statement.get("Effect") == "Allow"
        and "sts:AssumeRole" in actions
        and any(item.split(".amazonaws.com")[0] == service for item in services)
    )
