"""HyperPod clusters, Auto Scaling and Batch: templates that AWS refuses, and templates that it takes."""

from __future__ import annotations

import base64
from typing import Any

from tests.emulator.formation import att, ref
from tests.emulator.refusal_cases.entry import Entry, role
from tests.emulator.refusal_cases.network import VPC


def hyperpod(*, service: str = "sagemaker", **group: Any) -> dict[str, Entry]:
    given = {
        "InstanceGroupName": "gpu",
        "InstanceType": "ml.g5.8xlarge",
        "InstanceCount": 1,
        "ExecutionRole": att("Role", "Arn"),
        "LifeCycleConfig": {"SourceS3Uri": "s3://sagemaker-a/b", "OnCreate": "a.sh"},
        **group,
    }
    cluster = {
        "ClusterName": "refusals",
        "InstanceGroups": [given],
        "VpcConfig": {"Subnets": [ref("One")], "SecurityGroupIds": [att("Group", "GroupId")]},
    }
    return VPC | {"Role": role(service), "It": ("AWS::SageMaker::Cluster", cluster)}


def batch_hosts(user_data: str, **changes: Any) -> dict[str, Entry]:
    data = {"UserData": base64.b64encode(user_data.encode()).decode()}
    compute = {
        "Type": "EC2",
        "MinvCpus": 0,
        "MaxvCpus": 8,
        "InstanceTypes": ["c6i.4xlarge"],
        "Subnets": [ref("One")],
        "SecurityGroupIds": [att("Group", "GroupId")],
        "InstanceRole": att("Profile", "Arn"),
        "LaunchTemplate": {"LaunchTemplateId": ref("Template"), "Version": "1"},
        **changes,
    }
    return VPC | {
        "Host": role("ec2"),
        "Profile": ("AWS::IAM::InstanceProfile", {"Roles": [ref("Host")]}),
        "Template": ("AWS::EC2::LaunchTemplate", {"LaunchTemplateData": data}),
        "It": (
            "AWS::Batch::ComputeEnvironment",
            {"Type": "MANAGED", "ComputeResources": compute},
        ),
    }


def job(main: int) -> dict[str, Entry]:
    container = {"Image": "busybox", "Vcpus": 1, "Memory": 128}
    nodes = {
        "NumNodes": 2,
        "MainNode": main,
        "NodeRangeProperties": [{"TargetNodes": "0:", "Container": container}],
    }
    return {"It": ("AWS::Batch::JobDefinition", {"Type": "multinode", "NodeProperties": nodes})}


REFUSED: dict[str, tuple[dict[str, Entry], str]] = {
    "HyperPod type": (hyperpod(InstanceType="ml.q9.large"), "is not an instance type of HyperPod"),
    "HyperPod plan": (
        hyperpod(TrainingPlanArn="arn:aws:sagemaker:us-east-1:123456789012:training-plan/a"),
        "is of another region",
    ),
    "Auto Scaling sizes": (
        VPC
        | {
            "Template": ("AWS::EC2::LaunchTemplate", {"LaunchTemplateData": {"InstanceType": "t3.micro"}}),
            "It": (
                "AWS::AutoScaling::AutoScalingGroup",
                {
                    "MinSize": "2",
                    "MaxSize": "1",
                    "VPCZoneIdentifier": [ref("One")],
                    "LaunchTemplate": {"LaunchTemplateId": ref("Template"), "Version": "1"},
                },
            ),
        },
        "must be greater than or equal to min bound",
    ),
    "Batch user data": (batch_hosts("#!/bin/bash"), "MIME multi-part"),
    "Batch bounds": (
        batch_hosts("MIME-Version: 1.0\n", MinvCpus=16),
        "maxVCpus must be greater than minvCpus",
    ),
    "main node": (job(main=2), "mainNode 2 must be smaller"),
    "name that a pattern refuses": (hyperpod(InstanceGroupName="gpu_1"), "'gpu_1' does not match"),
}

TAKEN: dict[str, dict[str, Entry]] = {
    "HyperPod": hyperpod(),
    "Batch": batch_hosts("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b--\n"),
    "main node": job(main=1),
}
