"""Health records of HyperPod's agent: the subscription, and readable messages on the topic."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from programs.functions.health_log_forwarder import index as forwarder
from programs.functions.health_log_subscription import index as subscription
from tests.synthesis import Synthesis

Answers = list[tuple[str, str, str]]
"""Id, status and reason of each."""
GROUP = "/aws/sagemaker/Clusters/demo-hyperpod/abc123def456"
STREAM = "SagemakerHealthMonitoringAgent/gpu/i-0123456789abcdef0"
# The forms that the predecessor's tools know (hma_cw_bridge.py), with values of our own.
XID = {
    "level": "info",
    "msg": "DCGM Policy Violation found ",
    "condition: ": "XID Error",
    "data: ": {"ErrNum": 79},
    "HealthMonitoringAgentDetectionEvent": "HealthEvent",
}
# As the SageMaker guide has it, and with the colon that the agent adds.
DETAILS = {
    "msg": "NPD caught event: %v",
    "details": {"severity": "warn", "reason": "XidHardwareFailure", "message": "NVRM: Xid 71"},
    "HealthMonitoringAgentDetectionEvent": "HealthEvent",
}
COLON = {"details: ": DETAILS["details"], "HealthMonitoringAgentDetectionEvent": "HealthEvent"}
CONDITION = {"condition details": {"type": "NvidiaGPUUnhealthy", "status": "True"}}
UNHEALTHY = {
    "Event detail": {"Action": "replace", "Type": "NvidiaGPUUnhealthy", "Message": "NVRM: Xid 74"},
    "HealthMonitoringAgentDetectionEvent": "HealthEvent",
}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    with mock_aws():
        yield


def sent(*records: object, kind: str = "DATA_MESSAGE", stream: str = STREAM) -> dict[str, Any]:
    """Return what CloudWatch Logs sends to the destination of a subscription."""
    data = {
        "messageType": kind,
        "logGroup": GROUP,
        "logStream": stream,
        "logEvents": [
            {"id": "1", "timestamp": 0, "message": one if isinstance(one, str) else json.dumps(one)}
            for one in records
        ],
    }
    return {"awslogs": {"data": base64.b64encode(gzip.compress(json.dumps(data).encode())).decode()}}


@pytest.fixture
def published(account: None, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return a list that fills with subject and text of each message on a topic, as a queue receives it."""
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="notifications")["TopicArn"]
    queue = sqs.create_queue(QueueName="people")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-west-2:123456789012:people")
    monkeypatch.setenv("TOPIC_ARN", topic)
    monkeypatch.setenv("CLUSTER_NAME", "demo-hyperpod")

    class Received(list[tuple[str, str]]):
        def forward(self, event: dict[str, Any]) -> None:
            forwarder.handler(event, None)
            for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
                body = json.loads(message["Body"])
                self.append((body["Subject"], body["Message"]))

    return Received()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (XID, ["Condition: XID Error", "Data: {'ErrNum': 79}", "DCGM Policy Violation found"]),
        (UNHEALTHY, ["Type: NvidiaGPUUnhealthy", "Action: replace", "Message: NVRM: Xid 74"]),
        (DETAILS, ["Reason: XidHardwareFailure", "Severity: warn", "Message: NVRM: Xid 71"]),
        (COLON, ["Reason: XidHardwareFailure", "Message: NVRM: Xid 71"]),
        (CONDITION, ["Type: NvidiaGPUUnhealthy"]),
        ("no JSON at all", ["no JSON at all"]),
        (["a", "list"], ['["a", "list"]']),
    ],
)
def test_a_record_becomes_a_message_with_node_and_fault(
    published: Any, record: object, expected: list[str]
) -> None:
    published.forward(sent(record))
    [(subject, text)] = published
    assert subject == "HyperPod demo-hyperpod: health event on gpu/i-0123456789abcdef0"
    for words in expected:
        assert words in text
    if isinstance(record, dict):
        assert json.dumps(record) in text


def test_the_records_of_one_call_are_one_message(published: Any) -> None:
    published.forward(sent(XID, UNHEALTHY))
    [(_, text)] = published
    assert "XID Error" in text
    assert "NvidiaGPUUnhealthy" in text


def test_a_long_stream_name_is_no_subject_that_sns_refuses(published: Any) -> None:
    published.forward(sent(XID, stream="x" * 200))
    [(subject, _)] = published
    # SNS documents "less than 100 characters".
    assert len(subject) == 99


def test_a_message_is_cut_by_bytes(published: Any) -> None:
    published.forward(sent("\N{SNOWMAN}" * 100_000))
    [(_, text)] = published
    assert 190_000 < len(text.encode()) < 256 * 1024


def test_the_message_that_tries_the_destination_out_is_not_forwarded(published: Any) -> None:
    published.forward(sent("CWL CONTROL MESSAGE: Checking health", kind="CONTROL_MESSAGE"))
    assert published == []


@pytest.fixture
def answers(account: None, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Return a list that fills with what the subscription's function answers: id, status, reason."""
    given: Answers = []
    monkeypatch.setattr(
        subscription,
        "answer",
        lambda _event, physical_id, status, reason: given.append((physical_id, status, reason)),
    )
    return given


def function() -> str:
    """Make a function that records can be sent to, and return its ARN."""
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = boto3.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as folder:
        folder.writestr("index.py", "")
    made = boto3.client("lambda").create_function(
        FunctionName="forwarder",
        Runtime="python3.13",
        Role=role,
        Handler="index.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    return str(made["FunctionArn"])


def event(kind: str, destination: str, **more: str) -> dict[str, Any]:
    return {
        "RequestType": kind,
        "LogicalResourceId": "Resource",
        "ResourceProperties": {"LogGroupName": GROUP, "DestinationArn": destination},
        **more,
    }


def filters() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = boto3.client("logs").describe_subscription_filters(logGroupName=GROUP)[
        "subscriptionFilters"
    ]
    return found


@pytest.mark.parametrize("there", [False, True])
def test_the_log_group_is_subscribed_to_whether_hyperpod_has_made_it_or_not(
    answers: Answers, there: bool
) -> None:
    if there:
        boto3.client("logs").create_log_group(logGroupName=GROUP)
    destination = function()
    subscription.handler(event("Create", destination), None)
    assert answers == [(GROUP, "SUCCESS", "")]
    [made] = filters()
    assert made["destinationArn"] == destination
    assert made["filterPattern"] == '{ $.HealthMonitoringAgentDetectionEvent = "HealthEvent" }'
    # Twice is as once: CloudFormation may send an event again.
    subscription.handler(event("Create", destination), None)
    assert len(filters()) == 1


def test_deletion_leaves_the_group_and_takes_the_subscription(answers: Answers) -> None:
    destination = function()
    subscription.handler(event("Create", destination), None)
    for _ in range(2):
        subscription.handler(event("Delete", destination, PhysicalResourceId=GROUP), None)
    assert filters() == []
    assert [status for _, status, _ in answers] == ["SUCCESS"] * 3


def test_deletion_where_the_group_is_gone_too(answers: Answers) -> None:
    subscription.handler(event("Delete", function(), PhysicalResourceId=GROUP), None)
    assert answers == [(GROUP, "SUCCESS", "")]
    with pytest.raises(ClientError):
        filters()


def test_deletion_of_what_was_never_answered_is_of_the_group_of_its_properties(
    answers: Answers,
) -> None:
    destination = function()
    subscription.handler(event("Create", destination), None)
    subscription.handler(event("Delete", destination, PhysicalResourceId="demo-HealthLog-1ABC"), None)
    assert filters() == []
    # CloudFormation refuses a deletion that changes the id.
    assert answers[-1] == ("demo-HealthLog-1ABC", "SUCCESS", "")


def test_a_failed_update_keeps_the_id_of_what_is_there(answers: Answers) -> None:
    missing = "arn:aws:lambda:us-west-2:123456789012:function:missing"
    subscription.handler(event("Update", missing, PhysicalResourceId="/aws/sagemaker/Clusters/a/b"), None)
    [(physical_id, status, reason)] = answers
    assert (physical_id, status) == ("/aws/sagemaker/Clusters/a/b", "FAILED")
    assert reason


def test_logs_of_this_cluster_alone_call_the_function(default_synthesis: Synthesis) -> None:
    [permission] = [
        resource["Properties"]
        for resource in default_synthesis.resources("HyperPodStack", "AWS::Lambda::Permission")
        if resource["Properties"]["Principal"] == "logs.amazonaws.com"
    ]
    assert permission["SourceAccount"] == {"Ref": "AWS::AccountId"}
    assert "log-group:/aws/sagemaker/Clusters/demo-hyperpod/*" in str(permission["SourceArn"])
    resource = default_synthesis.only("HyperPodStack", "Custom::TrainforgeHealthLog")
    assert "/aws/sagemaker/Clusters/demo-hyperpod/" in str(resource["LogGroupName"])
    [name] = [
        name
        for name, found in default_synthesis.templates["HyperPodStack"]["Resources"].items()
        if found["Type"] == "Custom::TrainforgeHealthLog"
    ]
    waits = default_synthesis.templates["HyperPodStack"]["Resources"][name]["DependsOn"]
    assert any("Permission" in one or "Logs" in one for one in waits), (
        "CloudWatch Logs tries the function out"
    )
