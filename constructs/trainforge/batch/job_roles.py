"""The roles of jobs: one for their programs, and one that starts them."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

_ARN_PARTS = 7
"""Parts of a secret's ARN: arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME-XXXXXX."""


class JobRole(iam.Role):
    """Role of the programs in jobs: nothing but what is granted to it."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope, construct_id, assumed_by=_tasks(scope), description="Programs of jobs in AWS Batch"
        )


class ExecutionRole(iam.Role):
    """Role that ECS starts jobs with: their log streams and the secrets that they are given; images are granted.

    In place of AmazonECSTaskExecutionRolePolicy, which may pull every image and write every log group. What follows
    a secret's own ARN, a key of its value or a version, is ECS's and no part of the resource.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        log_group: logs.ILogGroup,
        secret_arns: Sequence[str] = (),
    ) -> None:
        super().__init__(
            scope, construct_id, assumed_by=_tasks(scope), description="ECS, starting jobs of AWS Batch"
        )
        log_group.grant_write(self)
        if secret_arns:
            secrets = [":".join(arn.split(":")[:_ARN_PARTS]) for arn in secret_arns]
            self.add_to_policy(
                iam.PolicyStatement(
                    actions=["secretsmanager:GetSecretValue"], resources=list(dict.fromkeys(secrets))
                )
            )


def _tasks(scope: Construct) -> iam.IPrincipal:
    """Return ECS's tasks of this account alone: the service acts for others too."""
    return iam.ServicePrincipal("ecs-tasks.amazonaws.com").with_conditions(
        {"StringEquals": {"aws:SourceAccount": cdk.Stack.of(scope).account}}
    )
