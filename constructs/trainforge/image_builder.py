"""Hardening of image builds: the project and the function that a stack's images share (cdklabs.deploy-time-build)."""

from __future__ import annotations

import json
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from cdklabs.deploy_time_build import ContainerImageBuild
from constructs import IConstruct

from catalog.instance_facts import Architecture
from trainforge.acknowledgement import WILDCARD_RULE, acknowledge, acknowledge_wildcards

_FUNCTION = "DeployTimeBuildCustomResourceHandler"
_PROJECTS = {"x86_64": "ContainerImageBuildAmd64", "arm64": "ContainerImageBuildArm64"}
_LOGS = "Logs"
_PUBLIC_POLICY = "AmazonElasticContainerRegistryPublicReadOnly"

_ONCE = """\
if aws ecr describe-images --region "$repositoryRegion" --repository-name "${repositoryUri#*/}" \
--image-ids imageTag="$imageTag" > /dev/null 2>&1; then
  echo "$repositoryUri:$imageTag is there already: nothing to build"
else
(
set -e
%s
)
fi"""
"""The build's own commands, run only for a tag that is not there: its second push would be refused."""


def harden_build(build: ContainerImageBuild, architecture: Architecture) -> None:
    """Configure what `build` shares with other builds of its stack by the rules of this project.

    The library makes one function a stack and one project an architecture, and leaves open what matters here: how
    large the machine is, how long logs stay, what happens to a tag that is there. Both are found by the library's
    ids, so a new release of it is looked at before it is taken. The build waits for their log groups, which would
    otherwise be made, and left behind, by the services.
    """
    stack = cdk.Stack.of(build)
    build.node.find_child("Resource").node.add_dependency(
        _harden_function(_shared(stack, _FUNCTION)),
        _harden_project(_shared(stack, _PROJECTS[architecture])),
    )


def built_once(specification: str) -> str:
    """Return a build specification of the library that builds a tag only when it is not there.

    A rollback asks for the previous tag again, as does a new stack over a repository that was kept.
    """
    data = json.loads(specification)
    phase = data["phases"]["build"]
    phase["commands"] = [_ONCE % "\n".join(phase["commands"])]
    return json.dumps(data, indent=2)


def _shared(stack: cdk.Stack, prefix: str) -> Any:
    """Return what the library put into the stack itself under an id that begins so."""
    return next(child for child in stack.node.children if child.node.id.startswith(prefix))


def _harden_function(function: lambda_.Function) -> IConstruct:
    """Keep the logs of the function that starts builds for a month, and let it write to those alone.

    Escape hatch: the library's construct takes neither a log group nor a role. The group is the one that the CDK
    makes for every function (feature flag useCdkManagedLogGroup), which would never be deleted. It is named after the
    function, so the permission cannot be in the policy that the function waits for.
    """
    existing = function.node.try_find_child(_LOGS)
    if existing is not None:
        return existing
    group = function.node.find_child("LogGroup")
    assert isinstance(group, logs.LogGroup)
    cfn_group = group.node.default_child
    assert isinstance(cfn_group, logs.CfnLogGroup)
    cfn_group.retention_in_days = 30
    group.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
    assert function.role
    cfn_role = function.role.node.default_child
    assert isinstance(cfn_role, iam.CfnRole)
    cfn_role.managed_policy_arns = None
    writing = iam.Policy(function, _LOGS, roles=[function.role])
    group.grant_write(writing)
    acknowledge(function, "AwsSolutions-L1", "a function of the library's, which chooses its runtime")
    return writing


def _harden_project(project: codebuild.Project) -> IConstruct:
    """Make the project large enough, and let it build a tag once.

    Escape hatch: the library's construct fixes the machine, which is too small to unpack a CUDA base, and the
    commands. The log group has the name that CodeBuild gives, because the library's message about a failed build
    links there.
    """
    existing = project.node.try_find_child(_LOGS)
    if existing is not None:
        return existing
    cfn_project = project.node.default_child
    assert isinstance(cfn_project, codebuild.CfnProject)
    stack = cdk.Stack.of(project)
    source: dict[str, str] = stack.resolve(cfn_project.source)
    cfn_project.add_property_override("Source.BuildSpec", built_once(source["buildSpec"]))
    cfn_project.add_property_override("Environment.ComputeType", "BUILD_GENERAL1_LARGE")
    _accept_project(stack, project, stack.get_logical_id(cfn_project))
    return logs.LogGroup(
        project,
        _LOGS,
        log_group_name=f"/aws/codebuild/{project.project_name}",
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )


def _accept_project(stack: cdk.Stack, project: codebuild.Project, logical_id: str) -> None:
    """Accept what cdk-nag finds on the library's project, one by one."""
    here = f"{stack.region}:{stack.account}"
    qualifier = stack.synthesizer.bootstrap_qualifier or cdk.DefaultStackSynthesizer.DEFAULT_QUALIFIER
    for rule, reason in {
        "CB4": "the project makes no artifacts: images are encrypted in their repository",
        f"IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{_PUBLIC_POLICY}]": (
            "it reads what is public already, and strangers may read only so much of that"
        ),
    }.items():
        acknowledge(project, f"AwsSolutions-{rule}", reason)
    for resource, reason in {
        f"arn:{stack.partition}:logs:{here}:log-group:/aws/codebuild/<{logical_id}>:*": (
            "streams of the project's own log group, which CodeBuild names by build"
        ),
        f"arn:{stack.partition}:codebuild:{here}:report-group/<{logical_id}>-*": (
            "report groups of this project, which the CDK allows to every project"
        ),
        f"arn:{stack.partition}:s3:::cdk-{qualifier}-assets-{stack.account}-{stack.region}/*": (
            "assets are named by hashes, in the bootstrap's bucket"
        ),
        "*": "ecr:GetAuthorizationToken takes no resource",
    }.items():
        acknowledge_wildcards(project, reason, resource)
    for action in ("s3:GetObject*", "s3:GetBucket*", "s3:List*"):
        acknowledge(project, f"{WILDCARD_RULE}[Action::{action}]", "the CDK's grant to read an asset")
