"""Subscribes a function to the health records in a HyperPod cluster's log group.

HyperPod makes the log group when its first node writes to it, which may be after the cluster's creation has ended; a
subscription of CloudFormation's own would fail then. So this makes the group where it is not there yet. CloudFormation
always receives an answer.
"""

from __future__ import annotations

import contextlib
from typing import Any

import boto3

from ..cloudformation_response import answer

_FILTER = "trainforge-health"
_PATTERN = '{ $.HealthMonitoringAgentDetectionEvent = "HealthEvent" }'


def handler(event: dict[str, Any], context: Any) -> None:
    """Answer one CloudFormation event; the physical id is the log group's name, so another group is a replacement."""
    del context
    # Deletion has the properties of what is deleted. Its physical id may be one that CloudFormation made, where a
    # creation was never answered: not a log group, and none that the role may touch.
    properties = event["ResourceProperties"]
    group = properties["LogGroupName"]
    physical_id = event.get("PhysicalResourceId") or group
    try:
        client = boto3.client("logs")
        if event["RequestType"] == "Delete":
            _unsubscribe(client, group)
        else:
            _subscribe(client, group, properties["DestinationArn"])
            physical_id = group
        answer(event, physical_id, "SUCCESS", "")
    except Exception as error:  # CloudFormation must receive any failure, or it waits for an hour.
        # The id that exists stays: another one would have CloudFormation delete what is there.
        answer(event, event.get("PhysicalResourceId") or group, "FAILED", f"{type(error).__name__}: {error}")


def _subscribe(client: Any, group: str, destination: str) -> None:
    with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
        client.create_log_group(logGroupName=group)
    client.put_subscription_filter(
        logGroupName=group, filterName=_FILTER, filterPattern=_PATTERN, destinationArn=destination
    )


def _unsubscribe(client: Any, group: str) -> None:
    with contextlib.suppress(client.exceptions.ResourceNotFoundException):
        client.delete_subscription_filter(logGroupName=group, filterName=_FILTER)
