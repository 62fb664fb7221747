"""Grafana on a private instance, for accounts without IAM Identity Center; people reach it through Session Manager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from catalog.versions import AMAZON_PROMETHEUS_PLUGIN, GRAFANA, GRAFANA_SHA256
from trainforge.acknowledgement import acknowledge, acknowledge_wildcards, spelled_arn
from trainforge.observability.dashboard_files import DashboardFiles
from trainforge.observability.managed_grafana import allow_cloudwatch
from trainforge.observability.workspace import MetricsWorkspace
from trainforge.programs import PROGRAMS
from trainforge.session import session_statement
from trainforge.ubuntu_server import ServerMachine, server_group, server_security_group

_SCRIPT = PROGRAMS / "grafana_server" / "set_up.sh"
_LOOPBACK = "127.0.0.1"
_GROUP = "GrafanaServers"
"""The group's logical id, which the instance signals by."""
TAG_KEY = "trainforge:grafana"
"""The tag by whose value, the deployment's name, a person finds the instance."""


@dataclass(frozen=True, slots=True)
class GrafanaMachine:
    """The instance type, of the x86_64 architecture, and the size in GiB of the encrypted volume."""

    instance_type: str
    volume_gib: int


class GrafanaInstance(Construct):
    """One instance in a private subnet, without ingress, that an auto scaling group replaces when it fails.

    Everything on it comes from files: a change of dashboards or of the release, and a new image of Ubuntu, replaces it,
    and what people made in it by hand goes with it. The deployment waits until it answers, and fails if it does not.
    `secret` holds the password of the user `admin`. `scrape_seconds` is the time between two samples, by which Grafana
    chooses the time of rates.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: str,
        vpc: ec2.IVpc,
        subnet: ec2.ISubnet,
        machine: GrafanaMachine,
        workspace: MetricsWorkspace,
        dashboards: DashboardFiles,
        scrape_seconds: int,
    ) -> None:
        super().__init__(scope, construct_id)
        self.secret = self._secret()
        self.security_group = server_security_group(
            self,
            vpc,
            description="Grafana: nothing comes in",
            https="AWS services, Grafana's downloads",
        )
        self.role = self._role(workspace, dashboards)
        values = {
            "VERSION": str(GRAFANA),
            "SHA256": GRAFANA_SHA256,
            "PLUGIN": str(AMAZON_PROMETHEUS_PLUGIN),
            "SECRET": self.secret.secret_arn,
            "BUCKET": dashboards.bucket.bucket_name,
            "PREFIX": dashboards.prefix,
            "REGION": cdk.Stack.of(self).region,
            "METRICS_URL": workspace.url,
            "SCRAPE_SECONDS": str(scrape_seconds),
            "ADDRESS": _LOOPBACK,
            "STACK": cdk.Stack.of(self).stack_name,
            "GROUP": _GROUP,
        }
        tags = {"Name": f"{deployment}-grafana", TAG_KEY: deployment}
        server = ServerMachine(
            instance_type=machine.instance_type,
            volume_gib=machine.volume_gib,
            role=self.role,
            security_group=self.security_group,
            tags={"instance": tags, "volume": tags},
            script=user_data(values),
        )
        self.group = server_group(
            self, server, subnet, logical_id=_GROUP, reason="a group of one that is only ever replaced"
        )
        self.group.node.add_dependency(self.role, dashboards.upload, workspace)

    def _secret(self) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            "Admin",
            description="Password of Grafana's user admin",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=32, exclude_punctuation=True
            ),
        )
        acknowledge(
            secret,
            "AwsSolutions-SMG4",
            "the password is set when the instance is made, and a new secret value needs a new instance",
        )
        return secret

    def _role(self, workspace: MetricsWorkspace, dashboards: DashboardFiles) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="Grafana on an instance",
        )
        workspace.grant_query(role)
        allow_cloudwatch(role)
        role.add_to_policy(session_statement())
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["cloudformation:SignalResource"], resources=[cdk.Stack.of(self).stack_id]
            )
        )
        role.add_to_policy(
            iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[self.secret.secret_arn])
        )
        objects, bucket = f"{dashboards.prefix}/*", dashboards.bucket
        role.add_to_policy(
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[bucket.arn_for_objects(objects)])
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:ListBucket"],
                resources=[bucket.bucket_arn],
                conditions={"StringLike": {"s3:prefix": [objects]}},
            )
        )
        acknowledge_wildcards(
            role, "the dashboards, one object each", f"{spelled_arn(bucket, role)}/{objects}"
        )
        return role


@cache
def _program() -> str:
    return _SCRIPT.read_text(encoding="utf-8")


def user_data(values: Mapping[str, str]) -> str:
    """Return the script; `values` are its variables, which may hold CDK tokens and no secrets."""
    # Names that AWS makes, or tokens of them: nothing in them needs quotes but for the shell's own.
    return "\n".join(["#!/bin/bash", *(f"{name}='{value}'" for name, value in values.items()), _program()])
