"""The handler that empties a hosted zone: it goes as a whole, and CloudFormation always receives an answer."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from programs.functions.record_cleanup import index


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """Yield what the function answers in a moto account."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    given: list[tuple[str, str]] = []
    monkeypatch.setattr(index, "answer", lambda _event, _id, status, reason: given.append((status, reason)))
    with mock_aws():
        yield given


def event(kind: str, zone: str) -> dict[str, Any]:
    return {
        "RequestType": kind,
        "LogicalResourceId": "Resource",
        "ResourceProperties": {"HostedZoneId": zone},
    }


def zone_with_records() -> tuple[Any, str]:
    route53 = boto3.client("route53")
    zone = route53.create_hosted_zone(Name="demo.internal", CallerReference="1")["HostedZone"]["Id"]
    for name in ("ldap", "other"):
        record = {
            "Name": f"{name}.demo.internal",
            "Type": "A",
            "TTL": 60,
            "ResourceRecords": [{"Value": "10.0.0.9"}],
        }
        route53.change_resource_record_sets(
            HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
        )
    return route53, zone


def kinds(route53: Any, zone: str) -> set[str]:
    return {
        record["Type"]
        for record in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    }


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_nothing_happens_before_the_end(answers: list[tuple[str, str]], kind: str) -> None:
    route53, zone = zone_with_records()
    index.handler(event(kind, zone), None)
    assert "A" in kinds(route53, zone)
    assert answers == [("SUCCESS", "")]


def test_the_zone_s_own_records_are_left_and_a_second_time_is_no_error(
    answers: list[tuple[str, str]],
) -> None:
    route53, zone = zone_with_records()
    index.handler(event("Delete", zone), None)
    index.handler(event("Delete", zone), None)
    assert kinds(route53, zone) == {"NS", "SOA"}
    assert answers == [("SUCCESS", "")] * 2
    route53.delete_hosted_zone(Id=zone)


def test_a_zone_that_is_gone_is_no_error(answers: list[tuple[str, str]]) -> None:
    index.handler(event("Delete", "Z0123456789"), None)
    assert answers == [("SUCCESS", "")]


def test_a_failure_is_answered(answers: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_client: Any, _zone: str) -> None:
        raise PermissionError("not allowed")

    monkeypatch.setattr(index, "_empty", refuse)
    index.handler(event("Delete", "Z1"), None)
    assert answers == [("FAILED", "PermissionError: not allowed")]


def test_the_answer_is_what_cloudformation_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    class Answered:
        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    def urlopen(request: Any, timeout: float) -> Answered:
        assert timeout > 0
        sent.append(request)
        return Answered()

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    given = event("Create", "Z1") | {"StackId": "s", "RequestId": "r", "ResponseURL": "https://answer/"}
    index.handler(given, None)
    [request] = sent
    assert request.get_method() == "PUT"
    assert json.loads(request.data) == {
        "Status": "SUCCESS",
        "Reason": "",
        "PhysicalResourceId": "record-cleanup-Resource",
        "StackId": "s",
        "RequestId": "r",
        "LogicalResourceId": "Resource",
    }
