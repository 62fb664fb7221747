"""Grafana on a private instance, for accounts without IAM Identity Center; people reach it through Session Manager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from catalog.versions import AMAZON_PROMETHEUS_PLUGIN, GRAFANA, GRAFANA_SHA256, UBUNTU
from trainforge.acknowledgement import acknowledge, acknowledge_wildcards, spelled_arn
from trainforge.observability.dashboard_files import DashboardFiles
from trainforge.observability.managed_grafana import allow_cloudwatch
from trainforge.observability.workspace import MetricsWorkspace
from trainforge.programs import PROGRAMS
from trainforge.session import session_statement

_SCRIPT = PROGRAMS / "grafana_server" / "set_up.sh"
_IMAGE = f"/aws/service/canonical/ubuntu/server/{UBUNTU}/stable/current/amd64/hvm/ebs-gp3/ami-id"
"""Canonical's public parameter ("Find Ubuntu images on AWS", documentation.ubuntu.com)."""
_LOOPBACK = "127.0.0.1"
_GROUP = "GrafanaServers"
"""The group's logical id, which the instance signals by."""
_SET_UP = "PT20M"
"""Time in which an instance must have signalled, as an ISO 8601 duration: a failed download is tried for minutes."""
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
    `secret` holds the password of the user `admin`.
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
    ) -> None:
        super().__init__(scope, construct_id)
        self.secret = self._secret()
        self.security_group = self._security_group(vpc)
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
            "ADDRESS": _LOOPBACK,
            "STACK": cdk.Stack.of(self).stack_name,
            "GROUP": _GROUP,
        }
        template = self._template(deployment, machine, user_data(values))
        self.group = self._group(template, subnet)
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

    def _security_group(self, vpc: ec2.IVpc) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=vpc,
            description="Grafana: nothing comes in",
            allow_all_outbound=False,
        )
        for port, what in (
            (443, "AWS services, Grafana's downloads"),
            (80, "Ubuntu's package mirrors, signed"),
        ):
            group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), what)
        return group

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

    def _template(self, deployment: str, machine: GrafanaMachine, script: str) -> ec2.CfnLaunchTemplate:
        profile = iam.CfnInstanceProfile(self, "Profile", roles=[self.role.role_name])
        image = ssm.StringParameter.value_for_typed_string_parameter_v2(
            self, _IMAGE, ssm.ParameterValueType.AWS_EC2_IMAGE_ID
        )
        spelled = ec2.CfnLaunchTemplate
        tags = [
            cdk.CfnTag(key="Name", value=f"{deployment}-grafana"),
            cdk.CfnTag(key=TAG_KEY, value=deployment),
        ]
        return spelled(
            self,
            "Template",
            launch_template_data=spelled.LaunchTemplateDataProperty(
                image_id=image,
                instance_type=machine.instance_type,
                iam_instance_profile=spelled.IamInstanceProfileProperty(arn=profile.attr_arn),
                security_group_ids=[self.security_group.security_group_id],
                metadata_options=spelled.MetadataOptionsProperty(
                    http_tokens="required", http_put_response_hop_limit=1
                ),
                block_device_mappings=[
                    spelled.BlockDeviceMappingProperty(
                        device_name="/dev/sda1",
                        ebs=spelled.EbsProperty(
                            volume_size=machine.volume_gib,
                            volume_type="gp3",
                            encrypted=True,
                            delete_on_termination=True,
                        ),
                    )
                ],
                tag_specifications=[
                    spelled.TagSpecificationProperty(resource_type=kind, tags=tags)
                    for kind in ("instance", "volume")
                ],
                user_data=cdk.Fn.base64(script),
            ),
        )

    def _group(self, template: ec2.CfnLaunchTemplate, subnet: ec2.ISubnet) -> autoscaling.CfnAutoScalingGroup:
        group = autoscaling.CfnAutoScalingGroup(
            self,
            "Group",
            min_size="1",
            max_size="1",
            desired_capacity="1",
            vpc_zone_identifier=[subnet.subnet_id],
            launch_template=autoscaling.CfnAutoScalingGroup.LaunchTemplateSpecificationProperty(
                launch_template_id=template.ref, version=template.attr_latest_version_number
            ),
        )
        group.override_logical_id(_GROUP)
        group.cfn_options.creation_policy = cdk.CfnCreationPolicy(
            resource_signal=cdk.CfnResourceSignal(count=1, timeout=_SET_UP)
        )
        group.cfn_options.update_policy = cdk.CfnUpdatePolicy(
            auto_scaling_rolling_update=cdk.CfnAutoScalingRollingUpdate(
                min_instances_in_service=0,
                max_batch_size=1,
                wait_on_resource_signals=True,
                pause_time=_SET_UP,
            )
        )
        acknowledge(group, "AwsSolutions-AS3", "a group of one that is only ever replaced")
        return group


@cache
def _program() -> str:
    return _SCRIPT.read_text(encoding="utf-8")


def user_data(values: Mapping[str, str]) -> str:
    """Return the script; `values` are its variables, which may hold CDK tokens and no secrets."""
    # Names that AWS makes, or tokens of them: nothing in them needs quotes but for the shell's own.
    return "\n".join(["#!/bin/bash", *(f"{name}='{value}'" for name, value in values.items()), _program()])
