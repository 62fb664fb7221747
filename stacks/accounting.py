"""The accounting stack."""

from __future__ import annotations

from dataclasses import replace

import aws_cdk as cdk
from constructs import Construct

from settings.deployment import Settings
from stacks.network import NetworkStack
from trainforge.accounting.database import SlurmAccountingDatabase
from trainforge.accounting.parameters import USER

EPHEMERAL_BACKUP_DAYS = 1
"""RDS keeps backups for a day at least; those of an ephemeral deployment go with it."""


class AccountingStack(cdk.Stack):
    """The database in which the Slurm clusters of a deployment keep accounts."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        network: NetworkStack,
        env: cdk.Environment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            stack_name=f"{settings.name}-accounting",
            description=f"trainforge {settings.name}: Slurm accounting database",
        )
        assert settings.accounting
        section = settings.accounting
        durable = settings.retention == "durable"
        self.database = SlurmAccountingDatabase(
            self,
            "Database",
            vpc=network.vpc,
            subnets=[network.private_subnet(zone) for zone in settings.availability_zones],
            size=section if durable else replace(section, backup_days=EPHEMERAL_BACKUP_DAYS),
            removal_policy=cdk.RemovalPolicy.RETAIN if durable else cdk.RemovalPolicy.DESTROY,
        )
        for output_id, value, description in (
            ("DatabaseUri", self.database.uri, "Host and port of the accounting database"),
            ("DatabaseUser", USER, "User of the accounting database"),
            ("SecretArn", self.database.secret.secret_arn, "Secret with user name and password"),
            ("PasswordSecretArn", self.database.password_secret.ref, "Secret with the password alone"),
            (
                "ClientSecurityGroupId",
                self.database.client_security_group.security_group_id,
                "Security group whose members reach the database",
            ),
        ):
            cdk.CfnOutput(self, output_id, value=value, description=description)
