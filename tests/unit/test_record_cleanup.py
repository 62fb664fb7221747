"""The handler that empties a hosted zone: it goes as a whole, and CloudFormation always hears."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

from trainforge.programs import FUNCTIONS

HANDLER = FUNCTIONS / "record_cleanup" / "index.py"


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Yield the handler's module in a moto account; what it answers is in `answers`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    spec = importlib.util.spec_from_file_location("record_cleanup", HANDLER)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answers: list[tuple[str, str]] = []
    monkeypatch.setattr(
        module, "_answer", lambda _event, _id, status, reason: answers.append((status, reason))
    )
    module.answers = answers
    with mock_aws():
        yield module


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
def test_nothing_happens_before_the_end(function: Any, kind: str) -> None:
    route53, zone = zone_with_records()
    function.handler(event(kind, zone), None)
    assert "A" in kinds(route53, zone)
    assert function.answers == [("SUCCESS", "")]


def test_the_zone_s_own_records_are_left_and_a_second_time_is_no_error(function: Any) -> None:
    route53, zone = zone_with_records()
    function.handler(event("Delete", zone), None)
    function.handler(event("Delete", zone), None)
    assert kinds(route53, zone) == {"NS", "SOA"}
    assert function.answers == [("SUCCESS", "")] * 2
    route53.delete_hosted_zone(Id=zone)


def test_a_zone_that_is_gone_is_no_error(function: Any) -> None:
    function.handler(event("Delete", "Z0123456789"), None)
    assert function.answers == [("SUCCESS", "")]


def test_a_failure_is_answered(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_client: Any, _zone: str) -> None:
        raise PermissionError("not allowed")

    monkeypatch.setattr(function, "_empty", refuse)
    function.handler(event("Delete", "Z1"), None)
    assert function.answers == [("FAILED", "PermissionError: not allowed")]


def test_the_answer_is_what_cloudformation_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("record_cleanup_answer", HANDLER)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sent: list[Any] = []

    class Answered:
        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    def urlopen(request: Any, timeout: float) -> Answered:
        assert timeout > 0
        sent.append(request)
        return Answered()

    monkeypatch.setattr(module.urllib.request, "urlopen", urlopen)
    given = event("Create", "Z1") | {"StackId": "s", "RequestId": "r", "ResponseURL": "https://answer/"}
    module.handler(given, None)
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
