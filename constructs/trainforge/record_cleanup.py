"""Removal of the records that others put into a hosted zone of ours, before it is deleted."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from constructs import Construct

from trainforge.handler_function import handler_function, handler_role


class RecordCleanup(Construct):
    """Empties a hosted zone before CloudFormation deletes it: a zone with records of others cannot be deleted.

    Whoever writes records must depend on this, so that it is gone when the zone is emptied.
    """

    def __init__(self, scope: Construct, construct_id: str, *, zone: route53.IHostedZone) -> None:
        super().__init__(scope, construct_id)
        role = handler_role(self)
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets"],
                resources=[zone.hosted_zone_arn],
            )
        )
        function = handler_function(
            self,
            name="record_cleanup",
            description="Empties a hosted zone before it is deleted",
            role=role,
            timeout_minutes=5,
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
