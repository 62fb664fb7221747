"""Events of storage and of reserved capacity that end in the topics of alerts: what no exporter on a node sees."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from trainforge.notifications import Notifications

_GIB = 1 << 30
_NAMESPACE = "AWS/FSx"
EXPIRY = ("Capacity Block Expiration Warning", "Capacity Block Reservation Expiration Warning")
"""The event 40 minutes before a Capacity Block ends (EC2 User Guide, "Monitor Capacity Blocks using EventBridge"); two
editions of the page spell it in two ways."""
ENDED = (
    "EC2 Capacity Reservation Cancelled",
    "EC2 Capacity Reservation Expired",
    "EC2 Capacity Reservation Failed",
)
"""The events of a reservation that is no more. EC2's User Guide ("Monitor state changes for future-dated Capacity
Reservations") has Expired and Failed, of future-dated ones; Cancelled, and these events of others, are unverified."""
EC2 = "aws.ec2"


class LustreSpaceAlarm(Construct):
    """An alarm on the free space of a Lustre file system, whose changes of state are sent to a topic.

    The metric has one sample of each storage target a minute, and their sum is the file system's free space (FSx for
    Lustre User Guide, "FSx for Lustre metrics and dimensions"): the period is a minute, and no longer.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        file_system_id: str,
        capacity_gib: int,
        free_percent: int,
        notifications: Notifications,
    ) -> None:
        super().__init__(scope, construct_id)
        self.alarm = cloudwatch.Alarm(
            self,
            "Alarm",
            alarm_description=f"Less than {free_percent} % of the Lustre file system is free",
            metric=cloudwatch.Metric(
                namespace=_NAMESPACE,
                metric_name="FreeDataStorageCapacity",
                dimensions_map={"FileSystemId": file_system_id},
                statistic="Sum",
                period=cdk.Duration.minutes(1),
            ),
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            threshold=capacity_gib * _GIB * free_percent / 100,
            evaluation_periods=5,
            # A minute without a sample is not a full file system.
            treat_missing_data=cloudwatch.TreatMissingData.IGNORE,
        )
        notifications.on(
            "LustreSpace",
            description="The free space of the Lustre file system",
            source="aws.cloudwatch",
            detail_types=["CloudWatch Alarm State Change"],
            detail={"alarmName": [self.alarm.alarm_name], "state": {"value": ["ALARM", "OK"]}},
        )


def notify_of_reservations(ids: list[str], *, ending: Notifications, ended: Notifications) -> None:
    """Send the end of reservations to topics: `ending` 40 minutes before that of a Capacity Block, `ended` after it."""
    detail = {"capacity-reservation-id": ids}
    ending.on(
        "ReservationEnding",
        description="A Capacity Block ends in 40 minutes, and its instances in 10",
        source=EC2,
        detail_types=EXPIRY,
        detail=detail,
    )
    ended.on(
        "ReservationEnded",
        description="A capacity reservation ended",
        source=EC2,
        detail_types=ENDED,
        detail=detail,
    )
