"""The user data and the instance role of hosts in a compute environment."""

from __future__ import annotations

import shlex
from functools import cache

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from catalog.batch import SCRATCH
from trainforge.acknowledgement import acknowledge_wildcards
from trainforge.mounts import LustreMount
from trainforge.programs import NODES
from trainforge.session import session_statement

USER_DATA_LIMIT = 16384
"""Bytes of user data that EC2 takes (EC2 User Guide, "Instance user data")."""

_SCRIPT = NODES / "batch" / "prepare_host.sh"
_BOUNDARY = "trainforge"


@cache
def _program() -> str:
    return _SCRIPT.read_text(encoding="utf-8")


def user_data(shared: LustreMount, *more: str) -> str:
    """Return the launch template's user data, a MIME message of several parts, which Batch adds its own to.

    `more` are scripts that run after the one that prepares the host.
    Plain text: `cdk.Fn.base64` makes of it what a template holds. Source: Batch User Guide, "Amazon EC2 user data in
    launch templates".
    """
    return "\n".join(
        [
            "MIME-Version: 1.0",
            f'Content-Type: multipart/mixed; boundary="{_BOUNDARY}"',
            "",
            f"--{_BOUNDARY}",
            'Content-Type: text/x-shellscript; charset="us-ascii"',
            "",
            "#!/bin/bash",
            f"SCRATCH={SCRATCH}",
            f"SHARED_PATH={shlex.quote(shared.path)}",
            # Names that AWS makes, or tokens of them: nothing in them needs quotes.
            f"LUSTRE_DNS={shared.dns_name}",
            f"LUSTRE_NAME={shared.mount_name}",
            _program(),
            *(_part(script) for script in more),
            f"--{_BOUNDARY}--",
            "",
        ]
    )


def _part(script: str) -> str:
    return "\n".join([f"--{_BOUNDARY}", 'Content-Type: text/x-shellscript; charset="us-ascii"', "", script])


class HostRole(iam.Role):
    """Role of the hosts: join the cluster that Batch makes, log for jobs, take sessions.

    In place of AmazonEC2ContainerServiceforEC2Role, which may pull every image and write every log group: images are
    pulled by the execution role of a job. Jobs have a role of their own, and hosts deny
    them this one. The actions are those that the ECS agent documents.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope,
            construct_id,
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="Hosts of AWS Batch",
        )
        stack = cdk.Stack.of(self)
        clusters = stack.format_arn(service="ecs", resource="cluster", resource_name="*")
        instances = stack.format_arn(service="ecs", resource="container-instance", resource_name="*")
        self.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "ecs:DeregisterContainerInstance",
                    "ecs:Poll",
                    "ecs:RegisterContainerInstance",
                    "ecs:StartTelemetrySession",
                    "ecs:SubmitAttachmentStateChanges",
                    "ecs:SubmitContainerStateChange",
                    "ecs:SubmitTaskStateChange",
                    "ecs:UpdateContainerInstancesState",
                ],
                resources=[clusters, instances],
            )
        )
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["ecs:TagResource"],
                resources=[clusters, instances],
                conditions={"StringEquals": {"ecs:CreateAction": "RegisterContainerInstance"}},
            )
        )
        self.add_to_policy(iam.PolicyStatement(actions=["ecs:DiscoverPollEndpoint"], resources=["*"]))
        self.add_to_policy(session_statement())
        acknowledge_wildcards(
            self,
            "Batch makes clusters under names of its own, and ECS names the hosts in them",
            clusters,
            instances,
        )
        acknowledge_wildcards(
            self, "ecs:DiscoverPollEndpoint and Session Manager's channels take no resource", "*"
        )
