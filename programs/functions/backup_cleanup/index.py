"""Deletes the backups that FSx left of a deployment's file systems, once those are gone.

FSx for OpenZFS takes a final backup at deletion unless DeleteFileSystem says otherwise (API reference,
DeleteFileSystemOpenZFSConfiguration.SkipFinalBackup), and CloudFormation cannot say so. The backup is
charged for, and nobody sees it. This runs when the stack deletes the resource, which is after the file
systems. CloudFormation always receives an answer: FAILED with the reason on any exception.
"""

from __future__ import annotations

import time
from typing import Any

import boto3
from botocore.config import Config

from ..cloudformation_response import answer

# Throttling is retried by the SDK; what remains is given up while Lambda still has time to answer.
_RETRIES = Config(retries={"max_attempts": 8, "mode": "adaptive"})
_ANSWER_MARGIN_SECONDS = 20
_POLL_SECONDS = 5
_UNFINISHED = {"CREATING", "PENDING", "TRANSFERRING", "COPYING"}


def handler(event: dict[str, Any], context: Any) -> None:
    """Answer one CloudFormation event; only Delete does anything."""
    physical_id = event.get("PhysicalResourceId") or f"backup-cleanup-{event['LogicalResourceId']}"
    try:
        if event["RequestType"] == "Delete":
            tag = event["ResourceProperties"]
            deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000
            _delete_backups(
                boto3.client("fsx", config=_RETRIES),
                tag["TagKey"],
                tag["TagValue"],
                deadline - _ANSWER_MARGIN_SECONDS,
            )
        answer(event, physical_id, "SUCCESS", "")
    except Exception as error:  # CloudFormation must receive any failure, or it waits for an hour.
        answer(event, physical_id, "FAILED", f"{type(error).__name__}: {error}")


def _delete_backups(client: Any, key: str, value: str, deadline: float) -> None:
    while True:
        backups = _tagged_backups(client, key, value)
        for backup in backups:
            if backup["Lifecycle"] not in _UNFINISHED | {"DELETED"}:
                _delete(client, backup["BackupId"])
        unfinished = [backup["BackupId"] for backup in backups if backup["Lifecycle"] in _UNFINISHED]
        if not unfinished:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"backups {', '.join(unfinished)} are still being made; delete the stack again later"
            )
        time.sleep(_POLL_SECONDS)


def _tagged_backups(client: Any, key: str, value: str) -> list[dict[str, Any]]:
    """Return the backups with the tag whose file system is gone.

    A file system that still exists was kept on purpose (its stack became durable), and so are its backups.
    """
    existing = {
        system["FileSystemId"]
        for page in client.get_paginator("describe_file_systems").paginate()
        for system in page["FileSystems"]
    }
    tag = {"Key": key, "Value": value}
    return [
        backup
        for page in client.get_paginator("describe_backups").paginate()
        for backup in page["Backups"]
        if tag in backup.get("Tags", []) and backup["FileSystem"]["FileSystemId"] not in existing
    ]


def _delete(client: Any, backup_id: str) -> None:
    try:
        client.delete_backup(BackupId=backup_id)
    except client.exceptions.BackupNotFound:
        return  # A repeated event: it is gone already.
