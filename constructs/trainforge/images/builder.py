"""Rights and security group of the instances that build and test images, and the role that deletes old images."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from trainforge.acknowledgement import acknowledge, acknowledge_wildcards, spelled_arn

_SSM_POLICY = "AmazonSSMManagedInstanceCore"
_PROGRAM_OBJECTS = "ec2imagebuilder*"
"""Buckets of AWS with Image Builder's own program (AWS Managed Policy Reference,
EC2InstanceProfileForImageBuilder)."""
_OWN = {"aws:ResourceTag/CreatedBy": "EC2 Image Builder"}


class ArchiveAccess(iam.ManagedPolicy):
    """The right to read the archive of the playbooks: that of our pipelines, and of ParallelCluster's own build."""

    def __init__(self, scope: Construct, construct_id: str, *, bucket: s3.IBucket, prefix: str) -> None:
        super().__init__(
            scope, construct_id, description="Reads the playbooks that machine images are built with"
        )
        objects = f"{prefix}/*"
        self.add_statements(
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[bucket.arn_for_objects(objects)])
        )
        acknowledge_wildcards(
            self, "the archive, under a prefix of its own", f"{spelled_arn(bucket, self)}/{objects}"
        )


class BuilderRole(iam.Role):
    """The role of build and test instances: Systems Manager, their components, their logs, and one archive.

    The rights are those of AWS's policy EC2InstanceProfileForImageBuilder, on the resources whose names begin with
    `name` in place of all; `archive` lets them read the playbooks.
    """

    def __init__(self, scope: Construct, construct_id: str, *, name: str, archive: ArchiveAccess) -> None:
        super().__init__(
            scope,
            construct_id,
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="Instances that build and test machine images",
            managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(_SSM_POLICY), archive],
        )
        acknowledge(
            self,
            f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{_SSM_POLICY}]",
            "Image Builder runs commands through Systems Manager, whose agent needs these rights on all resources",
        )
        stack = cdk.Stack.of(self)
        components = stack.format_arn(service="imagebuilder", resource="component", resource_name=f"{name}*")
        logs = stack.format_arn(
            service="logs",
            resource="log-group",
            resource_name=f"/aws/imagebuilder/{name}*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        programs = f"arn:{stack.partition}:s3:::{_PROGRAM_OBJECTS}"
        for actions, resource in (
            (["imagebuilder:GetComponent"], components),
            (["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], logs),
            (["s3:GetObject"], programs),
        ):
            self.add_to_policy(iam.PolicyStatement(actions=actions, resources=[resource]))
        self.add_to_policy(
            iam.PolicyStatement(
                # Components are under a key that Image Builder owns.
                actions=["kms:Decrypt"],
                resources=["*"],
                conditions={
                    "ForAnyValue:StringEquals": {
                        "kms:EncryptionContextKeys": "aws:imagebuilder:arn",
                        "aws:CalledVia": "imagebuilder.amazonaws.com",
                    }
                },
            )
        )
        acknowledge_wildcards(
            self,
            "the deployment's own components and logs, Image Builder's program, and its own key",
            components,
            logs,
            programs,
            "*",
        )


class BuilderSecurityGroup(ec2.SecurityGroup):
    """The group of build and test instances: nothing comes in, HTTP and HTTPS go out."""

    def __init__(self, scope: Construct, construct_id: str, *, vpc: ec2.IVpc) -> None:
        super().__init__(
            scope,
            construct_id,
            vpc=vpc,
            description="Instances that build machine images: nothing comes in",
            allow_all_outbound=False,
        )
        for port, what in (
            (443, "AWS services, vendors' downloads"),
            (80, "The distribution's package mirrors, signed"),
        ):
            self.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), what)


class LifecycleRole(iam.Role):
    """The role by which Image Builder deletes old images: what it made itself, and nothing else in EC2.

    The rights are those of AWS's policy EC2ImageBuilderLifecycleExecutionPolicy for AMIs that are deleted.
    """

    def __init__(self, scope: Construct, construct_id: str, *, name: str) -> None:
        super().__init__(
            scope,
            construct_id,
            assumed_by=iam.ServicePrincipal("imagebuilder.amazonaws.com"),
            description="Deletes old machine images",
        )
        stack = cdk.Stack.of(self)
        images = stack.format_arn(service="imagebuilder", resource="image", resource_name=f"{name}*")
        machine_images = f"arn:{stack.partition}:ec2:{stack.region}::image/*"
        snapshots = f"arn:{stack.partition}:ec2:{stack.region}::snapshot/*"
        own = {"StringEquals": _OWN}
        for actions, resource, conditions in (
            (["ec2:DeregisterImage", "ec2:DescribeImageAttribute"], machine_images, own),
            (["ec2:DeleteSnapshot"], snapshots, own),
            (["imagebuilder:DeleteImage"], images, None),
            (["ec2:DescribeImages", "tag:GetResources"], "*", None),
        ):
            self.add_to_policy(
                iam.PolicyStatement(actions=actions, resources=[resource], conditions=conditions)
            )
        acknowledge_wildcards(
            self,
            "images and snapshots have ids of EC2's own, so their tag is the condition; the rest can only be listed",
            images,
            machine_images,
            snapshots,
            "*",
        )
