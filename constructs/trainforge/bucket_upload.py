"""Files put into a bucket when a stack is deployed."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from trainforge.acknowledgement import acknowledge, acknowledge_wildcards, spelled_arn

_FUNCTION = "Custom::CDKBucketDeployment"
_UPLOADER = "BucketUploads"

PYTHON_LEAVINGS = ("__pycache__", "*.pyc")
"""Files that Python writes beside sources, which are not uploaded."""


class BucketUpload(s3_deployment.BucketDeployment):
    """Sources copied to a prefix of a bucket; everything else under that prefix is removed.

    The CDK uploads by one function a stack, which keeps the role and the log group of whichever deployment was
    there first. So both belong to the stack, and each upload adds its own prefix to what the role may do: the
    CDK's own role may do all to whole buckets. With `keep` the files outlive the stack, otherwise they go
    with it. A bucket known by name only must be one of SSE-S3 or of the account's own key for S3.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        prefix: str,
        sources: Sequence[s3_deployment.ISource],
        keep: bool = True,
    ) -> None:
        role, group = _uploader(cdk.Stack.of(scope))
        _allow(role, bucket, prefix)
        super().__init__(
            scope,
            construct_id,
            destination_bucket=bucket,
            destination_key_prefix=prefix,
            sources=list(sources),
            log_group=group,
            role=role.without_policy_updates(),
            retain_on_delete=keep,
        )
        # The role's policy must be there before the first file, and until the last one is removed.
        self.node.add_dependency(role)
        for child in cdk.Stack.of(self).node.children:
            if child.node.id.startswith(_FUNCTION):
                acknowledge(
                    child, "AwsSolutions-L1", "a function of the CDK's, whose runtime the CDK chooses"
                )


def _uploader(stack: cdk.Stack) -> tuple[iam.Role, logs.LogGroup]:
    """Return the role and the log group of a stack's uploads, made at the first one."""
    home = stack.node.try_find_child(_UPLOADER)
    if home is None:
        home = Construct(stack, _UPLOADER)
        group = logs.LogGroup(
            home,
            "Logs",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        role = iam.Role(home, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        group.grant_write(role)
        assets = _assets(stack)
        _allow_reading(role, [assets], [f"{assets}/*"])
        acknowledge_wildcards(
            role,
            "assets are named by hashes, in a bucket that carries the bootstrap's qualifier",
            assets,
            f"{assets}/*",
        )
        return role, group
    made, beside = home.node.find_child("Role"), home.node.find_child("Logs")
    assert isinstance(made, iam.Role)
    assert isinstance(beside, logs.LogGroup)
    return made, beside


def _assets(stack: cdk.Stack) -> str:
    return f"arn:{stack.partition}:s3:::cdk-*-assets-{stack.account}-{stack.region}"


def _allow_reading(role: iam.Role, buckets: list[str], objects: list[str]) -> None:
    role.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=objects))
    role.add_to_policy(
        iam.PolicyStatement(actions=["s3:GetBucketLocation", "s3:ListBucket"], resources=buckets)
    )


def _allow(role: iam.Role, bucket: s3.IBucket, prefix: str) -> None:
    """Let the role keep one prefix of a bucket as the sources are."""
    uploaded = bucket.arn_for_objects(f"{prefix}/*")
    _allow_reading(role, [bucket.bucket_arn], [uploaded])
    role.add_to_policy(iam.PolicyStatement(actions=["s3:DeleteObject", "s3:PutObject"], resources=[uploaded]))
    acknowledge_wildcards(
        role,
        f"the objects under '{prefix}/', which the sources name",
        f"{spelled_arn(bucket, role)}/{prefix}/*",
    )
