"""Acknowledgement of findings of cdk-nag and of the built-in validation, one by one and with a reason."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from constructs import IConstruct

WILDCARD_RULE = "AwsSolutions-IAM5"


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Accept the findings of a rule on a construct and all below it."""
    cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=rule, reason=reason))


def acknowledge_wildcards(construct: IConstruct, reason: str, *resources: str) -> None:
    """Accept that policies of a construct name these wildcard resources, and no others.

    cdk-nag reports each wildcard by itself, so a new one is a new finding. It spells tokens by name.
    """
    stack = cdk.Stack.of(construct)
    for resource in resources:
        spelled = resource.replace(stack.account, "<AWS::AccountId>")
        # A token too, where the CDK does not know the region.
        spelled = (
            spelled.replace(stack.partition, "<AWS::Partition>") if _is_token(stack.partition) else spelled
        )
        acknowledge(construct, f"{WILDCARD_RULE}[Resource::{spelled}]", reason)


def spelled_arn(bucket: s3.IBucket, user: IConstruct) -> str:
    """Return a bucket's ARN as cdk-nag spells it in a policy of `user`.

    Within a stack that is the logical id, between stacks the name of the export, and the ARN itself of a bucket that
    exists already.
    """
    resource = bucket.node.default_child
    if not isinstance(resource, s3.CfnBucket):
        return bucket.bucket_arn
    stack = cdk.Stack.of(bucket)
    if stack == cdk.Stack.of(user):
        return f"<{stack.get_logical_id(resource)}.Arn>"
    # The export that the policy's reference makes anyway, under the same name.
    imported: dict[str, str] = stack.resolve(stack.export_value(bucket.bucket_arn))
    return imported["Fn::ImportValue"]


def _is_token(text: str) -> bool:
    return bool(cdk.Token.is_unresolved(text))
