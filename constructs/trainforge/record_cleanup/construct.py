"""The construct around the handler."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_route53 as route53
from constructs import Construct

from catalog.versions import LAMBDA_PYTHON

_HANDLER = Path(__file__).parent / "handler"


class RecordCleanup(Construct):
    """Empties a hosted zone before CloudFormation deletes it: a zone with records of others cannot be deleted.

    Whoever writes records must depend on this, so that it is gone when the zone is emptied.
    """

    def __init__(self, scope: Construct, construct_id: str, *, zone: route53.IHostedZone) -> None:
        super().__init__(scope, construct_id)
        group = logs.LogGroup(
            self,
            "Logs",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        group.grant_write(role)
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets"],
                resources=[zone.hosted_zone_arn],
            )
        )
        function = lambda_.Function(
            self,
            "Function",
            description="Empties a hosted zone before it is deleted",
            runtime=lambda_.Runtime(LAMBDA_PYTHON, lambda_.RuntimeFamily.PYTHON),
            architecture=lambda_.Architecture.ARM_64,
            handler="index.handler",
            code=lambda_.Code.from_asset(str(_HANDLER), exclude=["__pycache__"]),
            timeout=cdk.Duration.minutes(5),
            memory_size=256,
            role=role,
            log_group=group,
        )
        resource = cdk.CustomResource(
            self,
            "Resource",
            resource_type="Custom::TrainforgeRecordCleanup",
            service_token=function.function_arn,
            service_timeout=cdk.Duration.minutes(6),
            properties={"HostedZoneId": zone.hosted_zone_id},
        )
        # The role's policy must outlive the resource, or its last call is refused.
        resource.node.add_dependency(role)
