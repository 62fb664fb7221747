"""The handler of quotas and scheduler configurations: faults, leaks, and an answer to CloudFormation for each."""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from programs.functions.hyperpod_governance import governance_resource, index

CLUSTER = "arn:aws:sagemaker:us-west-2:111122223333:cluster/abcdefghijkl"
STACK = "arn:aws:cloudformation:us-west-2:111122223333:stack/hp/1"


class ConflictException(Exception):
    pass


class ResourceNotFound(Exception):
    pass


class Throttled(Exception):
    pass


class SageMaker:
    """Quotas of a service: each stage lasts one look; `faults` maps a call's name to what it raises, in order.

    A fault given as (exception, True) strikes after the call was done: its answer was lost.
    """

    class exceptions:
        ConflictException = ConflictException
        ResourceNotFound = ResourceNotFound

    def __init__(self, faults: dict[str, list[Any]] | None = None, *, ends: str = "") -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, list[dict[str, str]]] = {}
        self.faults = faults or {}
        self.ends = ends
        self.calls: list[str] = []
        self.numbers = itertools.count()

    def _called(self, name: str, do: Callable[[], Any]) -> Any:
        self.calls.append(name)
        waiting = self.faults.get(name, [])
        fault = waiting.pop(0) if waiting else None
        if fault and not isinstance(fault, tuple):
            raise fault
        done = do()
        if fault:
            raise fault[0]
        return done

    def create_compute_quota(self, **given: Any) -> dict[str, Any]:
        def do() -> dict[str, Any]:
            if any(thing["Name"] == given["Name"] for thing in self.things.values()):
                raise ConflictException("the name is taken")
            identifier = f"quota{next(self.numbers):07d}"
            self.tags[identifier] = given.pop("Tags")
            self.things[identifier] = {**given, "Status": "Creating", "ComputeQuotaVersion": 1}
            return {"ComputeQuotaId": identifier}

        made: dict[str, Any] = self._called("create", do)
        return made

    def describe_compute_quota(self, ComputeQuotaId: str) -> dict[str, Any]:
        def do() -> dict[str, Any]:
            if ComputeQuotaId not in self.things:
                raise ResourceNotFound
            thing = self.things[ComputeQuotaId]
            seen = dict(thing)
            if thing["Status"] in {"Creating", "Updating"}:
                thing["Status"] = self.ends or {"Creating": "Created", "Updating": "Updated"}[thing["Status"]]
                thing["FailureReason"] = "no capacity" if self.ends else ""
            elif thing["Status"] == "Deleting":
                del self.things[ComputeQuotaId]
            return seen

        seen: dict[str, Any] = self._called("describe", do)
        return seen

    def update_compute_quota(self, ComputeQuotaId: str, TargetVersion: int, **given: Any) -> None:
        def do() -> None:
            thing = self.things[ComputeQuotaId]
            if thing["ComputeQuotaVersion"] != TargetVersion:
                raise ConflictException("not the latest version")
            thing.update(given, Status="Updating", ComputeQuotaVersion=TargetVersion + 1)

        self._called("update", do)

    def delete_compute_quota(self, ComputeQuotaId: str) -> None:
        def do() -> None:
            if ComputeQuotaId not in self.things:
                raise ResourceNotFound
            self.things[ComputeQuotaId]["Status"] = "Deleting"

        self._called("delete", do)

    def get_paginator(self, operation: str) -> SageMaker:
        assert operation == "list_compute_quotas"
        return self

    def paginate(self, ClusterArn: str, NameContains: str) -> list[dict[str, Any]]:
        def do() -> list[dict[str, Any]]:
            found = [
                {"Name": t["Name"], "Status": t["Status"], "ComputeQuotaId": i, "ComputeQuotaArn": i}
                for i, t in self.things.items()
                if t["ClusterArn"] == ClusterArn and NameContains in t["Name"]
            ]
            # One a page: a paginator is what reads them all. An empty list may be left out of an answer.
            return [*({"ComputeQuotaSummaries": [one]} for one in found), {}]

        return list(self._called("list", do))

    def list_tags(self, ResourceArn: str) -> dict[str, Any]:
        return {"Tags": self.tags[ResourceArn]}


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 600_000


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return a function that sends one event to the handler and returns what CloudFormation received."""
    told: list[dict[str, Any]] = []
    time = {"now": 0.0}

    class Answer:
        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def answer(request: Any, timeout: int) -> Answer:
        told.append(json.loads(request.data))
        return Answer()

    def sleep(seconds: float) -> None:
        time["now"] += seconds

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    made = governance_resource.GovernanceResource

    def governed_by_this_clock(client: Any, kind: Any, deadline: float) -> Any:
        return made(client, kind, time["now"] + 560, clock=lambda: time["now"], sleep=sleep)

    monkeypatch.setattr(governance_resource, "GovernanceResource", governed_by_this_clock)

    def call(
        client: SageMaker, request: str, physical_id: str = "", count: int = 1, name: str = "a"
    ) -> dict[str, Any]:
        monkeypatch.setattr(index.boto3, "client", lambda service, config: client)
        fields = {
            "ComputeQuotaConfig": {"ComputeQuotaResources": [{"InstanceType": "ml.x", "Count": count}]},
            "ComputeQuotaTarget": {"TeamName": name, "FairShareWeight": 1},
        }
        event = {
            "RequestType": request,
            "ResponseURL": "https://example.invalid/",
            "StackId": STACK,
            "RequestId": "1",
            "LogicalResourceId": "TeamA",
            "ResourceProperties": {
                "Kind": "ComputeQuota",
                "ClusterArn": CLUSTER,
                "Name": f"{name}-quota",
                "Fields": json.dumps(fields),
            },
        }
        if physical_id:
            event["PhysicalResourceId"] = physical_id
        index.handler(event, Context())
        return told.pop()

    return call


def count_of(client: SageMaker) -> int:
    (thing,) = client.things.values()
    count: int = thing["ComputeQuotaConfig"]["ComputeQuotaResources"][0]["Count"]
    return count


def test_a_quota_is_made_changed_and_removed(send: Callable[..., dict[str, Any]]) -> None:
    client = SageMaker()
    made = send(client, "Create")
    assert made["Status"] == "SUCCESS"
    changed = send(client, "Update", made["PhysicalResourceId"], count=3)
    assert (changed["Status"], changed["PhysicalResourceId"]) == ("SUCCESS", made["PhysicalResourceId"])
    assert count_of(client) == 3
    assert send(client, "Delete", made["PhysicalResourceId"])["Status"] == "SUCCESS"
    assert client.things == {}


def test_the_same_event_twice_makes_one_quota(send: Callable[..., dict[str, Any]]) -> None:
    client = SageMaker()
    first, second = send(client, "Create"), send(client, "Create")
    assert first["PhysicalResourceId"] == second["PhysicalResourceId"]
    assert client.calls.count("create") == 1
    assert "update" not in client.calls


def test_a_lost_answer_leaves_one_quota(send: Callable[..., dict[str, Any]]) -> None:
    """The first call was done and its answer lost; the SDK's second one finds the name taken."""
    client = SageMaker({"create": [(ConflictException("the name is taken"), True)]})
    told = send(client, "Create")
    assert told["Status"] == "SUCCESS"
    assert list(client.things) == [told["PhysicalResourceId"]]


def test_a_quota_of_another_owner_is_not_touched(send: Callable[..., dict[str, Any]]) -> None:
    client = SageMaker()
    send(client, "Create")
    client.tags = {identifier: [] for identifier in client.things}
    told = send(client, "Create", count=9)
    assert told["Status"] == "FAILED"
    assert "not this stack's" in told["Reason"]
    assert send(client, "Delete", told["PhysicalResourceId"])["Status"] == "SUCCESS"
    assert count_of(client) == 1


def test_the_resource_of_a_failed_creation_is_removed(send: Callable[..., dict[str, Any]]) -> None:
    client = SageMaker(ends="CreateFailed")
    told = send(client, "Create")
    assert told["Status"] == "FAILED"
    assert "no capacity" in told["Reason"]
    assert client.things == {}


def test_what_cannot_be_removed_either_is_named_for_the_next_delete(
    send: Callable[..., dict[str, Any]],
) -> None:
    client = SageMaker({"delete": [Throttled("slow down")]}, ends="CreateFailed")
    told = send(client, "Create")
    (identifier,) = client.things
    assert (told["Status"], told["PhysicalResourceId"]) == ("FAILED", identifier)
    assert send(client, "Delete", identifier)["Status"] == "SUCCESS"
    assert client.things == {}


@pytest.mark.parametrize("call", ["list", "create", "describe", "update", "delete"])
@pytest.mark.parametrize(
    "fault", [Throttled("slow down"), TimeoutError("no answer")], ids=["throttle", "timeout"]
)
def test_a_fault_is_reported_and_the_next_event_continues(
    send: Callable[..., dict[str, Any]], call: str, fault: Exception
) -> None:
    """Whatever call fails: CloudFormation receives an answer, and the Delete that it sends then leaves nothing."""
    client = SageMaker()
    known = send(client, "Create")["PhysicalResourceId"] if call in {"update", "delete"} else ""
    client.faults = {call: [fault]}
    request = {"update": "Update", "delete": "Delete"}.get(call, "Create")
    told = send(client, request, known, count=2)
    assert told["Status"] == "FAILED"
    assert str(fault) in told["Reason"]
    if call == "update":
        assert told["PhysicalResourceId"] == known
    assert send(client, "Delete", told["PhysicalResourceId"])["Status"] == "SUCCESS"
    assert client.things == {}


def test_what_never_existed_is_deleted(send: Callable[..., dict[str, Any]]) -> None:
    client = SageMaker()
    assert send(client, "Delete", "none-TeamA")["Status"] == "SUCCESS"
    assert send(client, "Delete", "quota0000009")["Status"] == "SUCCESS"
    assert "delete" not in client.calls


def test_an_update_races_with_another_client(send: Callable[..., dict[str, Any]]) -> None:
    client = SageMaker({"update": [ConflictException("not the latest version")]})
    made = send(client, "Create")
    assert send(client, "Update", made["PhysicalResourceId"], count=4)["Status"] == "SUCCESS"
    assert count_of(client) == 4


def test_an_update_of_what_is_gone_makes_it_again(send: Callable[..., dict[str, Any]]) -> None:
    client = SageMaker()
    made = send(client, "Create")
    client.things.clear()
    told = send(client, "Update", made["PhysicalResourceId"], count=2)
    assert told["Status"] == "SUCCESS"
    assert told["PhysicalResourceId"] != made["PhysicalResourceId"]
    assert count_of(client) == 2


def test_another_name_is_another_quota_and_the_old_one_goes_by_its_own_delete(
    send: Callable[..., dict[str, Any]],
) -> None:
    client = SageMaker()
    made = send(client, "Create")
    told = send(client, "Update", made["PhysicalResourceId"], name="b")
    assert told["PhysicalResourceId"] != made["PhysicalResourceId"]
    send(client, "Delete", made["PhysicalResourceId"])
    assert [thing["Name"] for thing in client.things.values()] == ["b-quota"]


def test_a_failed_update_keeps_the_id_that_cloudformation_knows(send: Callable[..., dict[str, Any]]) -> None:
    """Another id would be a replacement, after which CloudFormation deletes the quota that is in use."""
    client = SageMaker()
    known = send(client, "Create")["PhysicalResourceId"]
    client.ends = "CreateFailed"
    client.faults = {"delete": [Throttled("slow down")]}
    told = send(client, "Update", known, name="b")
    assert len(client.things) == 2, "what was made in vain could not be removed"
    assert (told["Status"], told["PhysicalResourceId"]) == ("FAILED", known)


def test_a_failed_update_is_rolled_back(send: Callable[..., dict[str, Any]]) -> None:
    client = SageMaker()
    made = send(client, "Create")["PhysicalResourceId"]
    client.ends = "UpdateFailed"
    assert send(client, "Update", made, count=99)["Status"] == "FAILED"
    client.ends = ""
    assert send(client, "Update", made, count=1)["Status"] == "SUCCESS"
    assert count_of(client) == 1


def test_what_never_ends_is_given_up_in_time(send: Callable[..., dict[str, Any]]) -> None:
    client = SageMaker(ends="Creating")
    told = send(client, "Create")
    assert told["Status"] == "FAILED"
    assert "in time" in told["Reason"]
    assert told["PhysicalResourceId"] in client.things
