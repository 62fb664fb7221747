"""Scripts that HyperPod runs on every node, shipped in the scripts bucket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from trainforge.acknowledgement import acknowledge, acknowledge_wildcards
from trainforge.hyperpod.groups import LifecycleHook

_EXTENSION = Path(__file__).parent / "extension" / "handler"
_EXTENSION_ENTRY = "on_init_complete.sh"
_CONFIGURATION = "extension.json"
_CDK_FUNCTION = "Custom::CDKBucketDeployment"
_EXCLUDED = ["__pycache__", "*.pyc"]


class NodeScripts(Construct):
    """A folder of scripts in the scripts bucket, and the hook by which HyperPod runs its entry.

    The bucket's name begins with `sagemaker-`, as HyperPod's SourceS3Uri demands; the nodes' role must be
    allowed to read it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        prefix: str,
        sources: list[s3_deployment.ISource],
        event: str,
        entry: str,
    ) -> None:
        super().__init__(scope, construct_id)
        group = logs.LogGroup(
            self,
            "Logs",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        role = self._role(bucket, prefix, group)
        self.deployment = s3_deployment.BucketDeployment(
            self,
            "Upload",
            destination_bucket=bucket,
            destination_key_prefix=prefix,
            sources=sources,
            log_group=group,
            role=role.without_policy_updates(),
            # The bucket goes or stays as a whole, by its own removal policy.
            retain_on_delete=True,
        )
        self.deployment.node.add_dependency(role)
        for child in cdk.Stack.of(self).node.children:
            if child.node.id.startswith(_CDK_FUNCTION):
                acknowledge(
                    child, "AwsSolutions-L1", "a function of the CDK's, whose runtime the CDK chooses"
                )
        self.hook = LifecycleHook(event=event, source=f"s3://{bucket.bucket_name}/{prefix}", script=entry)

    def _role(self, bucket: s3.IBucket, prefix: str, group: logs.LogGroup) -> iam.Role:
        """Return a role for the uploading function: the CDK's own may do all to the whole bucket."""
        role = iam.Role(self, "UploadRole", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        group.grant_write(role)
        stack = cdk.Stack.of(self)
        assets = f"arn:{stack.partition}:s3:::cdk-*-assets-{stack.account}-{stack.region}"
        uploaded = bucket.arn_for_objects(f"{prefix}/*")
        for actions, resources in (
            (["s3:GetObject"], [f"{assets}/*", uploaded]),
            (["s3:DeleteObject", "s3:PutObject"], [uploaded]),
            (["s3:GetBucketLocation", "s3:ListBucket"], [assets, bucket.bucket_arn]),
        ):
            role.add_to_policy(iam.PolicyStatement(actions=actions, resources=resources))
        acknowledge_wildcards(
            self,
            "objects under this prefix, and assets whose names are hashes in a bucket that carries the "
            "bootstrap's qualifier",
            assets,
            f"{assets}/*",
            uploaded,
        )
        return role

    @classmethod
    def extension(
        cls,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        configuration: Mapping[str, Any],
    ) -> NodeScripts:
        """Ship the extension of this project, which runs after HyperPod's own initialisation of a node."""
        return cls(
            scope,
            construct_id,
            bucket=bucket,
            prefix="hyperpod/extension",
            sources=[
                s3_deployment.Source.asset(str(_EXTENSION), exclude=_EXCLUDED),
                s3_deployment.Source.data(
                    _CONFIGURATION, json.dumps(configuration, indent=2, sort_keys=True)
                ),
            ],
            event="OnInitComplete",
            entry=_EXTENSION_ENTRY,
        )

    @classmethod
    def lifecycle(
        cls,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        directory: Path,
        entry: str,
    ) -> NodeScripts:
        """Ship a user's own lifecycle scripts, which set a node up in place of HyperPod's initialisation."""
        return cls(
            scope,
            construct_id,
            bucket=bucket,
            prefix="hyperpod/lifecycle",
            sources=[s3_deployment.Source.asset(str(directory), exclude=_EXCLUDED)],
            event="OnCreate",
            entry=entry,
        )
