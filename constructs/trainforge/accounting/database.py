"""The accounting database: Aurora MySQL serverless, for slurmdbd and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from catalog.accounting import PORT, DatabaseSize
from catalog.versions import AURORA_MYSQL
from trainforge.accounting.parameters import PARAMETERS, USER
from trainforge.accounting.rotation import PasswordRotation
from trainforge.acknowledgement import acknowledge

_ENGINE = "aurora-mysql"
_FAMILY = "aurora-mysql8.0"
_PASSWORD_LENGTH = 32
"""Characters. MySQL takes 32 in a replication password and Aurora 41 in this one; letters and digits only, since
slurmdbd.conf and the clusters' own scripts put it between quotes and slashes."""


class SlurmAccountingDatabase(Construct):
    """An Aurora MySQL serverless cluster that slurmdbd keeps accounts in.

    Storage is encrypted, connections are refused without TLS, and only members of `client_security_group` reach
    it: attach that to the node that runs slurmdbd. `secret` holds user name and password as JSON, the form that
    HyperPod wants; `password_secret` the password alone, as ParallelCluster wants it. Both follow the rotation.
    With `removal_policy` RETAIN the database is protected against deletion and stays, with all that it depends on.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        vpc: ec2.IVpc,
        subnets: Sequence[ec2.ISubnet],
        size: DatabaseSize,
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY,
    ) -> None:
        super().__init__(scope, construct_id)
        self._removal_policy = removal_policy
        self.client_security_group, self._server_group = self._security_groups(vpc)
        self.secret, self.password_secret = self._secrets()
        self.cluster = self._cluster(subnets, size)
        self._add_instances(size.instances)
        self.rotation = PasswordRotation(
            self,
            "Rotation",
            secret=self.secret,
            password_secret=self.password_secret,
            cluster=self.cluster,
            days=size.rotation_days,
        )
        self._retain_or_remove()

    @property
    def endpoint(self) -> str:
        """Host name of the writer, which follows a failover."""
        return self.cluster.attr_endpoint_address

    @property
    def uri(self) -> str:
        """The address `host:port`, as ParallelCluster takes it."""
        return f"{self.endpoint}:{PORT}"

    def _security_groups(self, vpc: ec2.IVpc) -> tuple[ec2.SecurityGroup, ec2.SecurityGroup]:
        client = ec2.SecurityGroup(
            self,
            "Client",
            vpc=vpc,
            description="Nodes with slurmdbd: may reach the accounting database",
            allow_all_outbound=False,
        )
        server = ec2.SecurityGroup(
            self,
            "Server",
            vpc=vpc,
            description="Accounting database: MySQL from nodes with slurmdbd",
            allow_all_outbound=False,
        )
        client.connections.allow_to(server, ec2.Port.tcp(PORT), "slurmdbd to its database")
        return client, server

    def _secrets(self) -> tuple[secretsmanager.Secret, secretsmanager.CfnSecret]:
        secret = secretsmanager.Secret(
            self,
            "Secret",
            description="User name and password of slurmdbd at the accounting database",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template=json.dumps({"username": USER}),
                generate_string_key="password",
                password_length=_PASSWORD_LENGTH,
                exclude_punctuation=True,
            ),
        )
        copy = secretsmanager.CfnSecret(
            self,
            "PasswordSecret",
            description="Password of slurmdbd at the accounting database, alone",
            secret_string=secret.secret_value_from_json("password").unsafe_unwrap(),
        )
        acknowledge(
            copy, "AwsSolutions-SMG4", "a copy of the password, which the rotation of the other secret writes"
        )
        return secret, copy

    def _cluster(self, subnets: Sequence[ec2.ISubnet], size: DatabaseSize) -> rds.CfnDBCluster:
        """Describe the cluster by L1: the L2 has no way to leave names, roles and monitoring out."""
        parameters = rds.CfnDBClusterParameterGroup(
            self,
            "Parameters",
            family=_FAMILY,
            description="TLS only, and the waits that slurmdbd asks for",
            parameters=dict(PARAMETERS),
        )
        group = rds.CfnDBSubnetGroup(
            self,
            "Subnets",
            db_subnet_group_description="Private subnets of the accounting database",
            subnet_ids=[subnet.subnet_id for subnet in subnets],
        )
        retained = self._removal_policy is cdk.RemovalPolicy.RETAIN
        cluster = rds.CfnDBCluster(
            self,
            "Cluster",
            engine=_ENGINE,
            engine_version=AURORA_MYSQL,
            master_username=USER,
            master_user_password=self.secret.secret_value_from_json("password").unsafe_unwrap(),
            port=PORT,
            db_subnet_group_name=group.ref,
            db_cluster_parameter_group_name=parameters.ref,
            vpc_security_group_ids=[self._server_group.security_group_id],
            storage_encrypted=True,
            backup_retention_period=size.backup_days,
            copy_tags_to_snapshot=True,
            deletion_protection=retained,
            serverless_v2_scaling_configuration=rds.CfnDBCluster.ServerlessV2ScalingConfigurationProperty(
                min_capacity=size.min_capacity_acu, max_capacity=size.max_capacity_acu
            ),
        )
        self._acknowledge(cluster, retained=retained)
        return cluster

    def _acknowledge(self, cluster: rds.CfnDBCluster, *, retained: bool) -> None:
        acknowledge(cluster, "AwsSolutions-RDS6", "slurmdbd supports no IAM authentication, only a password")
        acknowledge(
            cluster,
            "AwsSolutions-RDS11",
            "in private subnets, for one security group: another port hides nothing",
        )
        acknowledge(
            cluster, "AwsSolutions-RDS14", "backtracking is not there for serverless instances; backups are"
        )
        acknowledge(
            cluster,
            "AwsSolutions-RDS16",
            "the general log would hold every statement of slurmdbd, for nobody to read",
        )
        if not retained:
            acknowledge(cluster, "AwsSolutions-RDS10", "an ephemeral deployment goes as a whole")

    def _add_instances(self, count: int) -> None:
        self._instances = [
            rds.CfnDBInstance(
                self,
                f"Instance{number}",
                engine=_ENGINE,
                db_cluster_identifier=self.cluster.ref,
                db_instance_class="db.serverless",
                publicly_accessible=False,
                promotion_tier=number - 1,
            )
            for number in range(1, count + 1)
        ]
        # Aurora takes one new instance of a cluster at a time.
        for first, second in zip(self._instances, self._instances[1:], strict=False):
            second.node.add_dependency(first)
        if self._removal_policy is not cdk.RemovalPolicy.RETAIN:
            for one in self._instances:
                acknowledge(
                    one, "AwsSolutions-RDS10", "protection is the cluster's; an ephemeral one has none"
                )

    def _retain_or_remove(self) -> None:
        """Keep or remove all but the rotation: a database that stays needs its network, parameters and secrets."""
        for construct in self.node.find_all():
            if isinstance(construct, cdk.CfnResource) and self.rotation not in construct.node.scopes:
                construct.apply_removal_policy(self._removal_policy)
