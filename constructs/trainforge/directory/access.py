"""The role of the directory server."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_s3 as s3
from constructs import Construct

from trainforge.acknowledgement import acknowledge_wildcards, spelled_arn

TAG_KEY = "trainforge:directory"


class DirectoryServerRole(iam.Role):
    """Role of the directory server: its volume, its name, its secrets, its files, and sessions of its keepers.

    Session Manager's part replaces AmazonSSMManagedInstanceCore, which also lets a machine read every
    parameter of the account.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope,
            construct_id,
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="Directory server",
        )
        self.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "ec2:DescribeVolumes",
                    "ssm:UpdateInstanceInformation",
                    "ssmmessages:CreateControlChannel",
                    "ssmmessages:CreateDataChannel",
                    "ssmmessages:OpenControlChannel",
                    "ssmmessages:OpenDataChannel",
                ],
                resources=["*"],
            )
        )
        acknowledge_wildcards(self, "DescribeVolumes and Session Manager's actions take no resource", "*")

    def allow_volume(self, volume_id: str, tag_value: str) -> None:
        """Let it attach one volume to instances that carry the tag, which are its own kind."""
        stack = cdk.Stack.of(self)
        instances = stack.format_arn(service="ec2", resource="instance", resource_name="*")
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["ec2:AttachVolume"],
                resources=[stack.format_arn(service="ec2", resource="volume", resource_name=volume_id)],
            )
        )
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["ec2:AttachVolume"],
                resources=[instances],
                conditions={"StringEquals": {f"aws:ResourceTag/{TAG_KEY}": tag_value}},
            )
        )
        acknowledge_wildcards(self, "ids of servers are made later; only those with the tag count", instances)

    def allow_name(self, zone: route53.IHostedZone, host: str) -> None:
        """Let it set the address behind its own name, and no other record."""
        self.add_to_policy(
            iam.PolicyStatement(actions=["route53:ListResourceRecordSets"], resources=[zone.hosted_zone_arn])
        )
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["route53:ChangeResourceRecordSets"],
                resources=[zone.hosted_zone_arn],
                conditions={
                    "ForAllValues:StringEquals": {
                        "route53:ChangeResourceRecordSetsNormalizedRecordNames": [host],
                        "route53:ChangeResourceRecordSetsRecordTypes": ["A"],
                        "route53:ChangeResourceRecordSetsActions": ["UPSERT"],
                    }
                },
            )
        )

    def allow_secrets(self, arns: Sequence[str]) -> None:
        """Let it read secrets."""
        self.add_to_policy(
            iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=list(arns))
        )

    def allow_files(self, bucket: s3.IBucket, *, prefix: str, written: str) -> None:
        """Let it read below a prefix of a bucket, and write one object there."""
        everything = bucket.arn_for_objects(f"{prefix}/*")
        self.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=[everything]))
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:ListBucket"],
                resources=[bucket.bucket_arn],
                conditions={"StringLike": {"s3:prefix": [f"{prefix}/*"]}},
            )
        )
        self.add_to_policy(
            iam.PolicyStatement(actions=["s3:PutObject"], resources=[bucket.arn_for_objects(written)])
        )
        acknowledge_wildcards(
            self,
            f"the program and the configuration below '{prefix}/'",
            f"{spelled_arn(bucket, self)}/{prefix}/*",
        )

    def allow_signal(self) -> None:
        """Allow it to signal its stack that its set-up ended."""
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["cloudformation:SignalResource"], resources=[cdk.Stack.of(self).stack_id]
            )
        )
