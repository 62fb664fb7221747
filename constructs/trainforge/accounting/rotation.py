"""Changes of the accounting database's password."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from trainforge.acknowledgement import acknowledge_wildcards
from trainforge.handler_function import handler_function, handler_role


class PasswordRotation(Construct):
    """A function that gives the database a new password, and the schedule on which Secrets Manager calls it.

    It changes the password by the RDS API, without SQL, so it needs neither a driver nor access to the VPC.
    The user stays the same, because ParallelCluster names it in its configuration; slurmdbd's open connection
    stays open, and a new one needs the new password.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        secret: secretsmanager.Secret,
        password_secret: secretsmanager.CfnSecret,
        cluster: rds.CfnDBCluster,
        days: int,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = cdk.Stack.of(self)
        role = handler_role(self)
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["rds:DescribeDBClusters", "rds:ModifyDBCluster"],
                resources=[
                    stack.format_arn(
                        service="rds",
                        resource="cluster",
                        resource_name=cluster.ref,
                        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
                    )
                ],
            )
        )
        role.add_to_policy(
            iam.PolicyStatement(actions=["secretsmanager:PutSecretValue"], resources=[password_secret.ref])
        )
        function = handler_function(
            self,
            name="accounting_rotation",
            description="Changes the password of the accounting database",
            role=role,
            timeout_minutes=15,
            environment={"CLUSTER": cluster.ref, "PASSWORD_SECRET": password_secret.ref},
        )
        schedule = secretsmanager.RotationSchedule(
            self,
            "Schedule",
            secret=secret,
            rotation_lambda=function,
            automatically_after=cdk.Duration.days(days),
            # Not at once: clusters are being built with the password at that moment.
            rotate_immediately_on_update=False,
        )
        for child in function.node.find_all():
            if isinstance(child, lambda_.CfnPermission):
                # CDK permits Secrets Manager as such, which would call it for any account's secret too.
                child.source_account = stack.account
        # Secrets Manager tries the function when the schedule is made; the role's policy must be there by then.
        schedule.node.add_dependency(role, function)
        acknowledge_wildcards(role, "GetRandomPassword takes no resource", "*")
