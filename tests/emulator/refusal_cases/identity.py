"""Policies, roles and keys: templates that AWS refuses, and templates that it takes."""

from __future__ import annotations

from typing import Any

from tests.emulator.formation import ref
from tests.emulator.refusal_cases.entry import Entry, role, trust


def policy(characters: int) -> dict[str, Any]:
    """Return a policy with about so many characters."""
    arns = [f"arn:aws:s3:::bucket-{index:05d}/*" for index in range(characters // 32)]
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": arns}],
    }


AWS_POLICIES = (
    *(
        "AmazonEC2ReadOnlyAccess",
        "AmazonS3ReadOnlyAccess",
        "AmazonVPCReadOnlyAccess",
        "AmazonFSxReadOnlyAccess",
    ),
    *(
        "AmazonRDSReadOnlyAccess",
        "AmazonSNSReadOnlyAccess",
        "AmazonSQSReadOnlyAccess",
        "AmazonSSMReadOnlyAccess",
    ),
    *("CloudWatchReadOnlyAccess", "IAMReadOnlyAccess"),
)


def key(*actions: str) -> dict[str, Entry]:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
        "Action": list(actions),
        "Resource": "*",
    }
    return {"It": ("AWS::KMS::Key", {"KeyPolicy": {"Version": "2012-10-17", "Statement": [statement]}})}


REFUSED: dict[str, tuple[dict[str, Entry], str]] = {
    "inline policy": (
        {
            "It": (
                "AWS::IAM::Role",
                trust("ec2.amazonaws.com")
                | {"Policies": [{"PolicyName": "a", "PolicyDocument": policy(11_000)}]},
            )
        },
        "Maximum policy size of 10240",
    ),
    "inline policies together": (
        {
            "Role": role("ec2"),
            "First": (
                "AWS::IAM::Policy",
                {"PolicyName": "a", "PolicyDocument": policy(6_000), "Roles": [ref("Role")]},
            ),
            "It": (
                "AWS::IAM::Policy",
                {"PolicyName": "b", "PolicyDocument": policy(6_000), "Roles": [ref("Role")]},
            ),
        },
        "Maximum policy size of 10240",
    ),
    "managed policy": (
        {"It": ("AWS::IAM::ManagedPolicy", {"PolicyDocument": policy(7_000)})},
        "PolicySize: 6144",
    ),
    "attached policies": (
        {
            "It": (
                "AWS::IAM::Role",
                trust("ec2.amazonaws.com")
                | {"ManagedPolicyArns": [f"arn:aws:iam::aws:policy/A{index}" for index in range(21)]},
            )
        },
        "PoliciesPerRole",
    ),
    "key that nobody can change": (key("kms:Decrypt"), "will not allow you to update the key policy"),
}

TAKEN: dict[str, dict[str, Entry]] = {
    "policies": {
        "It": (
            "AWS::IAM::Role",
            trust("ec2.amazonaws.com") | {"Policies": [{"PolicyName": "a", "PolicyDocument": policy(9_000)}]},
        )
    },
    "ten attached policies": {
        "It": (
            "AWS::IAM::Role",
            trust("ec2.amazonaws.com")
            | {"ManagedPolicyArns": [f"arn:aws:iam::aws:policy/{name}" for name in AWS_POLICIES]},
        )
    },
    "key of one statement": {
        "It": (
            "AWS::KMS::Key",
            {
                "KeyPolicy": {
                    "Version": "2012-10-17",
                    "Statement": {
                        "Effect": "Allow",
                        "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
                        "Action": "kms:*",
                        "Resource": "*",
                    },
                }
            },
        )
    },
    "key": key("kms:*"),
}
