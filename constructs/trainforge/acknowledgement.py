"""Accepting findings of cdk-nag and of the built-in validation, one by one and with a reason."""

from __future__ import annotations

import aws_cdk as cdk
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
        acknowledge(construct, f"{WILDCARD_RULE}[Resource::{spelled}]", reason)
