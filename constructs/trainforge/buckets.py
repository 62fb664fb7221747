"""Buckets: data, lifecycle scripts, and the access logs of both."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from trainforge.acknowledgement import acknowledge, acknowledge_wildcards, spelled_arn


class TrainingBucket(s3.Bucket):
    """A private bucket: encrypted, versioned, TLS 1.2 or newer only, no public access, access logged.

    Versioning protects checkpoints against an overwriting run; noncurrent versions go after
    `noncurrent_days`, unfinished uploads of killed jobs after seven days. With RemovalPolicy.DESTROY the
    bucket is emptied before it is deleted, else CloudFormation could not delete it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        removal_policy: cdk.RemovalPolicy,
        noncurrent_days: int = 30,
        access_logs: s3.IBucket | None = None,
        bucket_name: str | None = None,
        expire_days: int | None = None,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            bucket_name=bucket_name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            # SSE-S3: FSx data repositories read it without a key policy for FSx's service-linked role.
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            removal_policy=removal_policy,
            auto_delete_objects=removal_policy is cdk.RemovalPolicy.DESTROY,
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix=f"{construct_id}/" if access_logs else None,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="Tidy",
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
                    noncurrent_version_expiration=cdk.Duration.days(noncurrent_days),
                    expiration=cdk.Duration.days(expire_days) if expire_days else None,
                )
            ],
        )


class AccessLogBucket(TrainingBucket):
    """The bucket of the other buckets' access logs; entries expire after a year."""

    def __init__(self, scope: Construct, construct_id: str, *, removal_policy: cdk.RemovalPolicy) -> None:
        super().__init__(scope, construct_id, removal_policy=removal_policy, expire_days=365)
        acknowledge(
            self, "AwsSolutions-S1", "this is the bucket of access logs; logging its own would never end"
        )


class NodeAccess(iam.ManagedPolicy):
    """The policy of nodes and jobs of every cluster for buckets: read and write data, read scripts.

    One policy beside the buckets, attached to the role of each cluster; a cluster that takes policies of one IAM
    `path` only has its own. Versions of objects and the buckets'
    own configuration are out of reach. Objects under `read_only_prefix` of the buckets that are written
    cannot be written: they are programs that other people's jobs are launched from.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        read_write: Sequence[s3.IBucket],
        read: Sequence[s3.IBucket],
        read_only_prefix: str,
        path: str | None = None,
    ) -> None:
        super().__init__(scope, construct_id, description="Training nodes: data and scripts in S3", path=path)
        buckets = [*read_write, *read]
        objects = [bucket.arn_for_objects("*") for bucket in buckets]
        self.add_statements(
            iam.PolicyStatement(
                actions=["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
                resources=[bucket.bucket_arn for bucket in buckets],
            ),
            iam.PolicyStatement(actions=["s3:GetObject"], resources=objects),
            iam.PolicyStatement(
                actions=[
                    "s3:AbortMultipartUpload",
                    "s3:DeleteObject",
                    "s3:ListMultipartUploadParts",
                    "s3:PutObject",
                ],
                resources=[bucket.arn_for_objects("*") for bucket in read_write],
            ),
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                actions=["s3:DeleteObject", "s3:PutObject"],
                resources=[bucket.arn_for_objects(f"{read_only_prefix}/*") for bucket in read_write],
            ),
        )
        for bucket in buckets:
            acknowledge_wildcards(
                self,
                "objects of this bucket, which jobs name themselves",
                f"{spelled_arn(bucket, self)}/*",
            )
