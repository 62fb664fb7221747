"""The directory server: one machine that is replaced when it fails, on a volume that stays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from catalog.versions import UBUNTU
from trainforge.acknowledgement import acknowledge
from trainforge.bucket_upload import PYTHON_LEAVINGS, BucketUpload
from trainforge.directory.access import TAG_KEY, DirectoryServerRole
from trainforge.directory.boot import user_data
from trainforge.programs import DIRECTORY_SERVER
from trainforge.record_cleanup import RecordCleanup

PORT = 636
PREFIX = "directory"
AUTHORITY_KEY = f"{PREFIX}/published/ca.pem"
_CONFIGURATION = "directory.json"
_IMAGE = f"/aws/service/canonical/ubuntu/server/{UBUNTU}/stable/current/amd64/hvm/ebs-gp3/ami-id"
"""Canonical's public parameter ("Find Ubuntu images on AWS", documentation.ubuntu.com)."""
_GROUP = "DirectoryServers"
"""Logical id of the group, given because the server names it when it signals."""
_SET_UP = "PT20M"
_ROOT_GIB = 10


@dataclass(frozen=True, slots=True)
class DirectoryMachine:
    """The server's instance type, the size of its volume, or the id of one that is there already."""

    instance_type: str
    volume_gib: int
    existing_volume_id: str | None = None


class DirectoryServer(Construct):
    """An OpenLDAP server with TLS, in a private subnet, behind a name in a private hosted zone.

    An auto scaling group of one replaces it when it fails or its program changes; the volume with data and
    authority goes to the new one, which also moves the name. `content` are people and groups, which the server
    follows within five minutes, without replacement. `reader_secret` holds the password of `reader`, the name that
    nodes log in by. With RemovalPolicy.RETAIN the volume stays.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        vpc: ec2.IVpc,
        subnet: ec2.ISubnet,
        clients: ec2.ISecurityGroup,
        bucket: s3.IBucket,
        domain: str,
        content: Mapping[str, Any],
        machine: DirectoryMachine,
        certificate_secret_arn: str | None = None,
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY,
    ) -> None:
        super().__init__(scope, construct_id)
        self.host = f"ldap.{domain}"
        self.suffix = ",".join(f"dc={label}" for label in domain.split("."))
        self.reader = f"cn=reader,{self.suffix}"
        self.authority_source = f"s3://{bucket.bucket_name}/{AUTHORITY_KEY}"
        self.security_group = self._security_group(vpc, clients)
        self.reader_secret = self._reader_secret()
        self.zone = route53.PrivateHostedZone(self, "Zone", zone_name=domain, vpc=vpc)
        cleanup = RecordCleanup(self, "RecordCleanup", zone=self.zone)
        self.volume_id = machine.existing_volume_id or self._volume(machine, subnet, removal_policy)
        self.role = self._role(bucket, certificate_secret_arn)
        uploads = self._upload(bucket, content)
        self._settings = {
            "region": cdk.Stack.of(self).region,
            "stack": cdk.Stack.of(self).stack_name,
            "resource": _GROUP,
            "bucket": bucket.bucket_name,
            "program_prefix": self._program_prefix + "/",
            "configuration_key": f"{PREFIX}/configuration/{_CONFIGURATION}",
            "authority_key": AUTHORITY_KEY,
            "volume_id": self.volume_id,
            "hosted_zone_id": self.zone.hosted_zone_id,
            "host": self.host,
            "reader_secret": self.reader_secret.secret_arn,
            **({"certificate_secret": certificate_secret_arn} if certificate_secret_arn else {}),
        }
        template = self._template(machine.instance_type)
        self.group = self._group(template, subnet)
        # The server writes into zone and bucket, and must be gone before they are emptied.
        self.group.node.add_dependency(cleanup, self.role, *uploads)

    @property
    def uri(self) -> str:
        """The LDAP address for nodes: the stable DNS name, with TLS from the first byte."""
        return f"ldaps://{self.host}"

    @property
    def _tag(self) -> str:
        return cdk.Names.unique_id(self)

    def _security_group(self, vpc: ec2.IVpc, clients: ec2.ISecurityGroup) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=vpc,
            description="Directory server: LDAP over TLS from nodes",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(clients, ec2.Port.tcp(PORT), "LDAP over TLS from nodes")
        for port, what in (
            (443, "AWS services and package mirrors"),
            (80, "Ubuntu's package mirrors, signed"),
        ):
            group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), what)
        return group

    def _reader_secret(self) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            "ReaderSecret",
            description="Password that nodes log in to the directory with, to read it",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=32, exclude_punctuation=True
            ),
        )
        acknowledge(
            secret,
            "AwsSolutions-SMG4",
            "every node holds it for SSSD; it reads what every person on a node may read anyway, and the guide says "
            "how to change it",
        )
        return secret

    def _volume(
        self, machine: DirectoryMachine, subnet: ec2.ISubnet, removal_policy: cdk.RemovalPolicy
    ) -> str:
        volume = ec2.CfnVolume(
            self,
            "Volume",
            availability_zone=subnet.availability_zone,
            size=machine.volume_gib,
            volume_type="gp3",
            encrypted=True,
        )
        volume.apply_removal_policy(removal_policy)
        acknowledge(
            volume,
            "CloudFormation-Validate::W3010",
            "the zone is given in the configuration: nothing is looked up",
        )
        cdk.Tags.of(volume).add("Name", self._tag)
        cdk.Tags.of(volume).add(TAG_KEY, self._tag)
        return volume.ref

    def _role(self, bucket: s3.IBucket, certificate_secret_arn: str | None) -> DirectoryServerRole:
        role = DirectoryServerRole(self, "Role")
        role.allow_volume(self.volume_id, self._tag)
        role.allow_name(self.zone, self.host)
        given = [certificate_secret_arn] if certificate_secret_arn else []
        role.allow_secrets([self.reader_secret.secret_arn, *given])
        role.allow_files(bucket, prefix=PREFIX, written=AUTHORITY_KEY)
        role.allow_signal()
        return role

    @property
    def _program_prefix(self) -> str:
        # In the prefix a new program is new user data, and so a new server.
        content = cdk.FileSystem.fingerprint(str(DIRECTORY_SERVER), exclude=list(PYTHON_LEAVINGS))
        return f"{PREFIX}/program/{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def _upload(self, bucket: s3.IBucket, content: Mapping[str, Any]) -> list[BucketUpload]:
        text = json.dumps({"host": self.host, "suffix": self.suffix, **content}, indent=1, sort_keys=True)
        return [
            BucketUpload(
                self,
                "Program",
                bucket=bucket,
                prefix=self._program_prefix,
                sources=[s3_deployment.Source.asset(str(DIRECTORY_SERVER), exclude=list(PYTHON_LEAVINGS))],
            ),
            BucketUpload(
                self,
                "Configuration",
                bucket=bucket,
                prefix=f"{PREFIX}/configuration",
                sources=[s3_deployment.Source.data(_CONFIGURATION, text)],
            ),
        ]

    def _template(self, instance_type: str) -> ec2.CfnLaunchTemplate:
        profile = iam.CfnInstanceProfile(self, "Profile", roles=[self.role.role_name])
        image = ssm.StringParameter.value_for_typed_string_parameter_v2(
            self, _IMAGE, ssm.ParameterValueType.AWS_EC2_IMAGE_ID
        )
        spelled = ec2.CfnLaunchTemplate
        name = f"{cdk.Stack.of(self).stack_name}-server"
        return ec2.CfnLaunchTemplate(
            self,
            "Template",
            launch_template_data=spelled.LaunchTemplateDataProperty(
                image_id=image,
                instance_type=instance_type,
                iam_instance_profile=spelled.IamInstanceProfileProperty(arn=profile.attr_arn),
                security_group_ids=[self.security_group.security_group_id],
                metadata_options=spelled.MetadataOptionsProperty(
                    http_tokens="required", http_put_response_hop_limit=1
                ),
                block_device_mappings=[
                    spelled.BlockDeviceMappingProperty(
                        device_name="/dev/sda1",
                        ebs=spelled.EbsProperty(
                            volume_size=_ROOT_GIB,
                            volume_type="gp3",
                            encrypted=True,
                            delete_on_termination=True,
                        ),
                    )
                ],
                tag_specifications=[
                    spelled.TagSpecificationProperty(
                        resource_type="instance",
                        tags=[cdk.CfnTag(key="Name", value=name), cdk.CfnTag(key=TAG_KEY, value=self._tag)],
                    )
                ],
                user_data=cdk.Fn.base64(user_data(self._settings)),
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
        # The volume is with one server at a time: the old one goes before the new one comes.
        group.cfn_options.update_policy = cdk.CfnUpdatePolicy(
            auto_scaling_rolling_update=cdk.CfnAutoScalingRollingUpdate(
                min_instances_in_service=0,
                max_batch_size=1,
                wait_on_resource_signals=True,
                pause_time=_SET_UP,
                suspend_processes=[
                    "HealthCheck",
                    "ReplaceUnhealthy",
                    "AZRebalance",
                    "AlarmNotification",
                    "ScheduledActions",
                ],
            )
        )
        group.cfn_options.creation_policy = cdk.CfnCreationPolicy(
            resource_signal=cdk.CfnResourceSignal(count=1, timeout=_SET_UP)
        )
        acknowledge(
            group, "AwsSolutions-AS3", "a group of one that is only ever replaced; the timer's log tells more"
        )
        return group
