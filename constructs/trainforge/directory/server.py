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
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from trainforge.acknowledgement import acknowledge
from trainforge.bucket_upload import PYTHON_LEAVINGS, BucketUpload
from trainforge.directory.access import TAG_KEY, DirectoryServerRole
from trainforge.directory.boot import user_data
from trainforge.programs import DIRECTORY_SERVER
from trainforge.record_cleanup import RecordCleanup
from trainforge.ubuntu_server import ServerMachine, server_group, server_security_group

PORT = 636
PREFIX = "directory"
AUTHORITY_KEY = f"{PREFIX}/published/ca.pem"
_CONFIGURATION = "directory.json"
_GROUP = "DirectoryServers"
"""Logical id of the group, given because the server names it when it signals."""
_ROOT_GIB = 10
_SUSPENDED = ("HealthCheck", "ReplaceUnhealthy", "AZRebalance", "AlarmNotification", "ScheduledActions")
"""Processes that rest during an update: the volume is with one server at a time, so the old one ends before."""


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
        self.security_group = server_security_group(
            self,
            vpc,
            description="Directory server: LDAP over TLS from nodes",
            https="AWS services and package mirrors",
        )
        self.security_group.add_ingress_rule(clients, ec2.Port.tcp(PORT), "LDAP over TLS from nodes")
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
        self.group = self._group(machine.instance_type, subnet)
        # The server writes into zone and bucket, and must be gone before they are emptied.
        self.group.node.add_dependency(cleanup, self.role, *uploads)

    @property
    def uri(self) -> str:
        """The LDAP address for nodes: the stable DNS name, with TLS from the first byte."""
        return f"ldaps://{self.host}"

    @property
    def _tag(self) -> str:
        return cdk.Names.unique_id(self)

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

    def _group(self, instance_type: str, subnet: ec2.ISubnet) -> autoscaling.CfnAutoScalingGroup:
        machine = ServerMachine(
            instance_type=instance_type,
            volume_gib=_ROOT_GIB,
            role=self.role,
            security_group=self.security_group,
            tags={"instance": {"Name": f"{cdk.Stack.of(self).stack_name}-server", TAG_KEY: self._tag}},
            script=user_data(self._settings),
        )
        return server_group(
            self,
            machine,
            subnet,
            logical_id=_GROUP,
            reason="a group of one that is only ever replaced; the timer's log tells more",
            suspended=_SUSPENDED,
        )
