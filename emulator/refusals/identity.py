"""IAM's quotas and principals, KMS's lock-out check, rotation by Lambda."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from emulator.refusals.refusal import refuses, statements
from emulator.resources.resource import Resource

# IAM user guide, "IAM and AWS STS quotas": characters without white space, and policies attached by default.
_INLINE, _MANAGED, _TRUST, _ATTACHED = 10_240, 6_144, 2_048, 10


def _length(document: Any) -> int:
    """Return how many characters IAM counts of a policy, which leaves white space out."""
    return len("".join((document if isinstance(document, str) else json.dumps(document)).split()))


@refuses("AWS::IAM::ManagedPolicy")
def _managed(resource: Resource) -> Iterator[str]:
    """A managed policy has at most 6,144 characters."""
    length = _length(resource.properties.get("PolicyDocument"))
    if length > _MANAGED:
        yield f"Cannot exceed quota for PolicySize: {_MANAGED} (the policy has {length} characters)"


@refuses("AWS::IAM::Role")
def _role(resource: Resource) -> Iterator[str]:
    """A role's inline policies, managed policies and principals."""
    properties = resource.properties
    inline = sum(_length(policy.get("PolicyDocument")) for policy in properties.get("Policies", []))
    if inline > _INLINE:
        yield f"Maximum policy size of {_INLINE} bytes exceeded for role (it has {inline})"
    attached = properties.get("ManagedPolicyArns", [])
    if len(attached) > _ATTACHED:
        yield f"Cannot exceed quota for PoliciesPerRole: {_ATTACHED} (the role has {len(attached)})"
    trust = properties.get("AssumeRolePolicyDocument", {})
    if _length(trust) > _TRUST:
        yield f"Cannot exceed quota for ACLSizePerRole: {_TRUST} (the trust policy has {_length(trust)})"
    yield from _principals(resource, trust)


def _principals(resource: Resource, trust: Any) -> Iterator[str]:
    """Roles and users of this account that a trust policy names must exist; those of others are not known here."""
    for statement in statements(trust):
        principal = statement.get("Principal", {})
        named = principal.get("AWS", []) if isinstance(principal, dict) else []
        for arn in [named] if isinstance(named, str) else named:
            if f":{resource.context.account}:role/" in str(arn) and not _exists(resource, arn):
                yield f"Invalid principal in policy: {arn}"


def _exists(resource: Resource, arn: str) -> bool:
    try:
        resource.aws("iam").get_role(RoleName=arn.rsplit("/", 1)[-1])
    except ClientError:
        return False
    return True


@refuses("AWS::IAM::Policy")
def _policy(resource: Resource) -> Iterator[str]:
    """All inline policies of a role together have at most 10,240 characters."""
    iam, name = resource.aws("iam"), resource.properties.get("PolicyName")
    for role in resource.properties.get("Roles", []):
        try:
            others = [
                other for other in iam.list_role_policies(RoleName=role)["PolicyNames"] if other != name
            ]
        except ClientError as error:
            yield str(error)
            continue
        documents = [
            iam.get_role_policy(RoleName=role, PolicyName=other)["PolicyDocument"] for other in others
        ]
        total = sum(map(_length, [*documents, resource.properties.get("PolicyDocument")]))
        if total > _INLINE:
            yield f"Maximum policy size of {_INLINE} bytes exceeded for role {role} (it has {total})"


@refuses("AWS::KMS::Key")
def _lock_out(resource: Resource) -> Iterator[str]:
    """The policy must allow a principal of the account to change it (KMS API reference, CreateKey)."""
    properties = resource.properties
    policy = properties.get("KeyPolicy")
    if not policy or properties.get("BypassPolicyLockoutSafetyCheck") in (True, "true"):
        return
    for statement in statements(policy):
        actions = statement.get("Action", [])
        actions = [actions] if isinstance(actions, str) else actions
        principal = str(statement.get("Principal", ""))
        if (
            statement.get("Effect") == "Allow"
            and {"kms:*", "kms:Put*", "kms:PutKeyPolicy", "*"} & set(actions)
            and (resource.context.account in principal or "*" in principal)
        ):
            return
    yield "The new key policy will not allow you to update the key policy in the future."


@refuses("AWS::SecretsManager::RotationSchedule")
def _rotation(resource: Resource) -> Iterator[str]:
    """Secrets Manager must be allowed to invoke the function that rotates."""
    function = resource.properties.get("RotationLambdaARN")
    if not function:
        return
    try:
        policy = json.loads(resource.aws("lambda").get_policy(FunctionName=function)["Policy"])
    except ClientError:
        policy = {"Statement": []}
    if not any("secretsmanager.amazonaws.com" in str(item.get("Principal")) for item in policy["Statement"]):
        yield f"Secrets Manager cannot invoke the specified Lambda function '{function}'"
