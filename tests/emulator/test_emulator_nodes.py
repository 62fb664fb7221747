"""Sessions with HyperPod nodes and their replacement, as the emulator answers them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.server import Emulator

NAME = "nodes"
DOCUMENT = "shell"


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulator]:
    with Emulator() as emulator:
        role = emulator.client("iam").create_role(RoleName="node", AssumeRolePolicyDocument="{}")["Role"][
            "Arn"
        ]
        subnet = emulator.client("ec2").describe_subnets()["Subnets"][0]
        [group] = emulator.client("ec2").describe_security_groups(GroupNames=["default"])["SecurityGroups"]
        emulator.client("sagemaker").create_cluster(
            ClusterName=NAME,
            Orchestrator={"Slurm": {"SlurmConfigStrategy": "Managed"}},
            VpcConfig={"Subnets": [subnet["SubnetId"]], "SecurityGroupIds": [group["GroupId"]]},
            InstanceGroups=[
                instance_group("controller", 1, "Controller", role),
                instance_group("gpu", 2, "Compute", role),
            ],
        )
        content = {"schemaVersion": "1.0", "description": "x", "sessionType": "Standard_Stream"}
        emulator.client("ssm").create_document(
            Name=DOCUMENT, DocumentType="Session", Content=json.dumps(content), DocumentFormat="JSON"
        )
        yield emulator


def instance_group(name: str, count: int, kind: str, role: str) -> dict[str, Any]:
    return {
        "InstanceGroupName": name,
        "InstanceType": "ml.m5.large",
        "InstanceCount": count,
        "ExecutionRole": role,
        "SlurmConfig": {"NodeType": kind},
    }


def nodes(aws: Emulator, group: str) -> list[str]:
    found = aws.client("sagemaker").list_cluster_nodes(ClusterName=NAME, InstanceGroupNameContains=group)
    return [node["InstanceId"] for node in found["ClusterNodeSummaries"]]


def target(aws: Emulator, group: str, node: str) -> str:
    arn = aws.client("sagemaker").describe_cluster(ClusterName=NAME)["ClusterArn"]
    return f"sagemaker-cluster:{arn.split('/')[1]}_{group}-{node}"


def test_a_session_with_a_node_starts(aws: Emulator) -> None:
    [node] = nodes(aws, "controller")
    answer = aws.client("ssm").start_session(Target=target(aws, "controller", node), DocumentName=DOCUMENT)
    assert answer["SessionId"] in answer["StreamUrl"]
    assert answer["TokenValue"]


def test_a_target_of_another_group_is_not_connected(aws: Emulator) -> None:
    [node] = nodes(aws, "controller")
    with pytest.raises(ClientError, match="TargetNotConnected"):
        aws.client("ssm").start_session(Target=target(aws, "gpu", node), DocumentName=DOCUMENT)
    with pytest.raises(ClientError, match="TargetNotConnected"):
        aws.client("ssm").start_session(Target=node, DocumentName=DOCUMENT)


def test_an_unknown_document_is_refused(aws: Emulator) -> None:
    [node] = nodes(aws, "controller")
    with pytest.raises(ClientError, match="InvalidDocument"):
        aws.client("ssm").start_session(Target=target(aws, "controller", node), DocumentName="absent")


def test_a_replaced_node_has_another_id(aws: Emulator) -> None:
    first, second = nodes(aws, "gpu")
    absent = "i-00000000000000000"
    answer = aws.client("sagemaker").batch_replace_cluster_nodes(ClusterName=NAME, NodeIds=[first, absent])
    assert answer["Successful"] == [first]
    assert [failure["ErrorCode"] for failure in answer["Failed"]] == ["InstanceIdNotFound"]
    after = nodes(aws, "gpu")
    assert len(after) == 2
    assert second in after
    assert first not in after


def test_a_controller_is_not_replaced(aws: Emulator) -> None:
    with pytest.raises(ClientError, match="is a Slurm controller"):
        aws.client("sagemaker").batch_replace_cluster_nodes(
            ClusterName=NAME, NodeIds=nodes(aws, "controller")
        )
