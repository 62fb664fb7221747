"""The handler that deletes final backups: CloudFormation always receives an answer, and only its own backups go."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from programs.functions.backup_cleanup import index

MINE = [{"Key": "owner", "Value": "me"}]


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 900_000


class BackupNotFound(Exception):
    pass


class Pages:
    """A paginator of pages that are given."""

    def __init__(self, pages: list[dict[str, Any]]) -> None:
        self.pages = pages

    def paginate(self) -> list[dict[str, Any]]:
        return self.pages


class Fsx:
    """FSx with some backups; each listing moves those that are being made one step on."""

    class exceptions:
        BackupNotFound = BackupNotFound

    def __init__(
        self, *backups: dict[str, Any], gone: bool = False, file_systems: tuple[str, ...] = ()
    ) -> None:
        self.file_systems = file_systems
        self.backups = list(backups)
        self.deleted: list[str] = []
        self.gone = gone
        self.listings = 0

    def get_paginator(self, operation: str) -> Any:
        if operation == "describe_file_systems":
            return Pages([{"FileSystems": [{"FileSystemId": name} for name in self.file_systems]}])
        assert operation == "describe_backups"
        return self

    def paginate(self) -> list[dict[str, Any]]:
        self.listings += 1
        page = [dict(backup) for backup in self.backups]
        for backup in self.backups:
            if backup["Lifecycle"] == "CREATING":
                backup["Lifecycle"] = "AVAILABLE"
        return [{"Backups": page[:1]}, {"Backups": page[1:]}]

    def delete_backup(self, BackupId: str) -> None:
        if self.gone:
            raise BackupNotFound
        self.deleted.append(BackupId)
        self.backups = [backup for backup in self.backups if backup["BackupId"] != BackupId]


def backup(name: str, lifecycle: str = "AVAILABLE", tags: list[dict[str, str]] = MINE) -> dict[str, Any]:
    file_system = {"FileSystemId": f"fs-of-{name}"}
    return {"BackupId": name, "Lifecycle": lifecycle, "Tags": tags, "FileSystem": file_system}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return a function that sends one event to the handler and returns the answer CloudFormation got."""
    answers: list[dict[str, Any]] = []

    def send(client: Any, request: str = "Delete") -> dict[str, Any]:
        monkeypatch.setattr(index.boto3, "client", lambda *_, **__: client)
        monkeypatch.setattr(index.time, "sleep", lambda _: None)

        class Response:
            def __enter__(self) -> None: ...
            def __exit__(self, *_: object) -> None: ...

        def urlopen(sent: Any, timeout: float) -> Response:
            assert timeout
            answers.append(json.loads(sent.data))
            return Response()

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)
        index.handler(
            {
                "RequestType": request,
                "LogicalResourceId": "Cleanup",
                "StackId": "stack",
                "RequestId": "request",
                "ResponseURL": "https://cloudformation.example.com/answer",
                "ResourceProperties": {"TagKey": "owner", "TagValue": "me"},
            },
            Context(),
        )
        return answers[-1]

    return send


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_only_deletion_does_anything(run: Callable[..., dict[str, Any]], request_type: str) -> None:
    client = Fsx(backup("mine"))
    assert run(client, request_type)["Status"] == "SUCCESS"
    assert client.listings == 0


def test_its_own_backups_go_and_others_stay(run: Callable[..., dict[str, Any]]) -> None:
    client = Fsx(
        backup("mine"),
        backup("theirs", tags=[{"Key": "owner", "Value": "them"}]),
        backup("untagged", tags=[]),
        backup("mine-too"),
    )
    assert run(client)["Status"] == "SUCCESS"
    assert client.deleted == ["mine", "mine-too"]


def test_backups_of_an_existing_file_system_stay(run: Callable[..., dict[str, Any]]) -> None:
    """An ephemeral deployment that becomes durable deletes this resource, and keeps its file systems."""
    client = Fsx(backup("mine"), backup("kept"), file_systems=("fs-of-kept",))
    assert run(client)["Status"] == "SUCCESS"
    assert client.deleted == ["mine"]


def test_a_backup_that_is_being_made_is_waited_for(run: Callable[..., dict[str, Any]]) -> None:
    client = Fsx(backup("late", "CREATING"))
    assert run(client)["Status"] == "SUCCESS"
    assert client.deleted == ["late"]


def test_a_repeated_event_finds_nothing_and_succeeds(run: Callable[..., dict[str, Any]]) -> None:
    assert run(Fsx())["Status"] == "SUCCESS"
    assert run(Fsx(backup("mine"), gone=True))["Status"] == "SUCCESS"


def test_cloudformation_receives_a_failure_with_its_reason(run: Callable[..., dict[str, Any]]) -> None:
    class Refusing(Fsx):
        def paginate(self) -> list[dict[str, Any]]:
            raise PermissionError("not authorized to perform fsx:DescribeBackups")

    answer = run(Refusing())
    assert answer["Status"] == "FAILED"
    assert "fsx:DescribeBackups" in answer["Reason"]
    assert answer["PhysicalResourceId"]


def test_a_backup_that_is_never_finished_ends_in_time(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(Fsx):
        def paginate(self) -> list[dict[str, Any]]:
            return [{"Backups": [backup("stuck", "CREATING")]}]

    monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda _: 1000)
    answer = run(Stuck())
    assert answer["Status"] == "FAILED"
    assert "stuck" in answer["Reason"]
