"""Publishes the hours until reserved capacity ends, one metric of CloudWatch for each reservation.

EventBridge calls it on a schedule with the names that the configuration has: ids of capacity reservations and Capacity
Blocks, ARNs of resource groups of reservations, and ARNs of SageMaker training plans. Alarms compare the metric with
their thresholds, so that an end is told once, and an extension ends the alarm.

Sources of states and fields: EC2 API reference, CapacityReservation; SageMaker API reference, DescribeTrainingPlan and
ReservedCapacitySummary.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

MAX_HOURS = 24.0 * 365
"""The value for an end that is a year or more away, or that nobody has set: a metric has no infinity."""

_ENDED = ("expired", "cancelled", "cancelling", "failed", "payment-failed", "unsupported")
"""States of a capacity reservation without capacity, and without a way back."""
_PLAN_ENDED = ("Expired", "Failed")
_RESERVATION = "AWS::EC2::CapacityReservation"


def handler(event: dict[str, Any], context: Any) -> dict[str, float]:
    """Publish the hours of each of `event["reservations"]`, and return them by the last part of the name.

    Raises:
        RuntimeError: some could not be read; it names each, and the others are published. Lambda tries the call twice
            more, and counts the error.
        Exception: CloudWatch refuses the metric.
    """
    del context
    now = datetime.now(UTC)
    hours: dict[str, float] = {}
    mistakes = []
    for reservation in event["reservations"]:
        try:
            hours[_short(reservation)] = min(_hours(reservation, now), MAX_HOURS)
        except (BotoCoreError, ClientError, ValueError) as error:
            mistakes.append(f"'{reservation}': {error}")
    print(json.dumps({"hours": hours, "errors": mistakes}))  # noqa: T201 -- the function's log
    if hours:
        _publish(hours, now)
    if mistakes:
        raise RuntimeError("the end of reserved capacity could not be read: " + "; ".join(mistakes))
    return hours


def _short(name: str) -> str:
    """Return an id as it is, and of an ARN what is after the account: `training-plan/NAME`."""
    return name.split(":", 5)[-1]


def _hours(name: str, now: datetime) -> float:
    """Return the hours until a reservation ends: 0 if it ended, infinite if nobody set an end.

    Raises:
        ValueError: an answer has no end where one is due, or a group has no reservation.
    """
    read: Callable[[str, datetime], float] = _of_reservation
    if name.startswith("arn:"):
        read = _of_plan if name.split(":")[2] == "sagemaker" else _of_group
    return read(name, now)


def _of_reservation(identifier: str, now: datetime) -> float:
    found = _reservations([identifier], now)
    if len(found) != 1:
        raise ValueError(f"EC2 answers with {len(found)} reservations of this id")
    return found[0]


def _of_group(arn: str, now: datetime) -> float:
    """Return the hours until the next reservation of a group ends; those that ended already do not count."""
    pages = boto3.client("resource-groups").get_paginator("list_group_resources").paginate(Group=arn)
    members = [
        entry["Identifier"]["ResourceArn"].rsplit("/", 1)[-1]
        for page in pages
        for entry in page.get("Resources", [])
        if entry.get("Identifier", {}).get("ResourceType") == _RESERVATION
    ]
    if not members:
        raise ValueError("the group has no capacity reservation")
    return min((hours for hours in _reservations(members, now) if hours), default=0.0)


def _reservations(identifiers: Sequence[str], now: datetime) -> list[float]:
    pages = (
        boto3.client("ec2")
        .get_paginator("describe_capacity_reservations")
        .paginate(CapacityReservationIds=list(identifiers))
    )
    return [_of_answer(found, now) for page in pages for found in page["CapacityReservations"]]


def _of_answer(found: dict[str, Any], now: datetime) -> float:
    if found["State"] in _ENDED:
        return 0.0
    if found.get("EndDate"):
        return _until(found["EndDate"], now)
    if found.get("EndDateType") == "limited":
        raise ValueError(f"reservation {found['CapacityReservationId']} is limited and has no end date")
    return math.inf


def _of_plan(arn: str, now: datetime) -> float:
    """Return the hours until the next part of a training plan ends: a plan may have parts with a pause between."""
    plan = boto3.client("sagemaker").describe_training_plan(TrainingPlanName=arn)
    if plan["Status"] in _PLAN_ENDED:
        return 0.0
    ends = [
        part["EndTime"]
        for part in plan.get("ReservedCapacitySummaries", [])
        if part["Status"] not in _PLAN_ENDED and part.get("EndTime") and part["EndTime"] > now
    ]
    end = min(ends, default=plan.get("EndTime"))
    if end is None:
        raise ValueError(f"the training plan has no end time, and its status is '{plan['Status']}'")
    return _until(end, now)


def _until(end: datetime, now: datetime) -> float:
    return max(0.0, (end - now).total_seconds() / 3600)


def _publish(hours: dict[str, float], now: datetime) -> None:
    boto3.client("cloudwatch").put_metric_data(
        Namespace=os.environ["NAMESPACE"],
        MetricData=[
            {
                "MetricName": os.environ["METRIC"],
                "Dimensions": [
                    {"Name": "Deployment", "Value": os.environ["DEPLOYMENT"]},
                    {"Name": "Reservation", "Value": name},
                ],
                "Timestamp": now,
                "Value": value,
            }
            for name, value in hours.items()
        ],
    )
