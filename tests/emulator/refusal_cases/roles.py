"""Roles of services, and what they may do: templates that AWS refuses, and templates that it takes."""

from __future__ import annotations

from tests.emulator.formation import att, ref
from tests.emulator.refusal_cases.compute import hyperpod
from tests.emulator.refusal_cases.eks import eks_cluster, node_group
from tests.emulator.refusal_cases.entry import Entry, role, trust
from tests.emulator.refusal_cases.network import VPC

MISSING_ROLE = "arn:aws:iam::123456789012:role/missing"

ONE_STATEMENT = {
    "Effect": "Allow",
    "Principal": {"Service": "sagemaker.amazonaws.com"},
    "Action": "sts:AssumeRole",
}


REFUSED: dict[str, tuple[dict[str, Entry], str]] = {
    "EKS role": (
        eks_cluster() | {"ClusterRole": role("ec2")},
        "cannot be assumed by eks.amazonaws.com",
    ),
    "node role": (node_group() | {"NodeRole": role("eks")}, "cannot be assumed by ec2.amazonaws.com"),
    "principal that does not exist": (
        {"It": ("AWS::IAM::Role", trust(AWS=MISSING_ROLE))},
        "Invalid principal in policy",
    ),
    "flow log's role": (
        VPC
        | {
            "Logs": ("AWS::Logs::LogGroup", {}),
            "Role": role("ec2"),
            "It": (
                "AWS::EC2::FlowLog",
                {
                    "ResourceId": ref("Vpc"),
                    "ResourceType": "VPC",
                    "TrafficType": "ALL",
                    "LogGroupName": ref("Logs"),
                    "DeliverLogsPermissionArn": att("Role", "Arn"),
                },
            ),
        },
        "cannot be assumed by vpc-flow-logs.amazonaws.com",
    ),
    "HyperPod role": (hyperpod(service="ec2"), "cannot be assumed by sagemaker.amazonaws.com"),
}

TAKEN: dict[str, dict[str, Entry]] = {
    "role of one statement": hyperpod()
    | {
        "Role": (
            "AWS::IAM::Role",
            {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": ONE_STATEMENT}},
        )
    },
    "role with a path": hyperpod()
    | {"Role": ("AWS::IAM::Role", trust("sagemaker.amazonaws.com") | {"Path": "/parallelcluster/"})},
}
