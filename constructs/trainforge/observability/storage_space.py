"""Alarms of CloudWatch on the free space of file systems, whose changes of state are sent to a topic."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from trainforge.notifications import Notifications

_GIB = 1 << 30
_NAMESPACE = "AWS/FSx"


class LustreSpaceAlarm(Construct):
    """An alarm on the free space of a Lustre file system.

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
        _notify(notifications, self.node.id, self.alarm, "The free space of the Lustre file system")


class OpenZfsSpaceAlarm(Construct):
    """An alarm on the free space of an OpenZFS file system, as a share of what it holds.

    Both metrics are the file system's with the one dimension FileSystemId, and their statistics are the average and the
    minimum (FSx for OpenZFS User Guide, "Amazon FSx for OpenZFS metrics and dimensions"). The size is a metric too, so
    the alarm holds for a file system whose size is not known here, and for one that grew.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        file_system_id: str,
        free_percent: int,
        notifications: Notifications,
    ) -> None:
        super().__init__(scope, construct_id)
        period = cdk.Duration.minutes(5)
        used, size = (
            cloudwatch.Metric(
                namespace=_NAMESPACE,
                metric_name=name,
                dimensions_map={"FileSystemId": file_system_id},
                statistic="Average",
                period=period,
            )
            for name in ("UsedStorageCapacity", "StorageCapacity")
        )
        self.alarm = cloudwatch.Alarm(
            self,
            "Alarm",
            alarm_description=f"Less than {free_percent} % of the OpenZFS file system is free",
            metric=cloudwatch.MathExpression(
                expression="100 * (1 - used / size)",
                using_metrics={"used": used, "size": size},
                label="free percent",
                period=period,
            ),
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            threshold=free_percent,
            evaluation_periods=1,
            # Five minutes without a sample are not a full file system.
            treat_missing_data=cloudwatch.TreatMissingData.IGNORE,
        )
        _notify(notifications, self.node.id, self.alarm, "The free space of the OpenZFS file system")


def _notify(notifications: Notifications, rule_id: str, alarm: cloudwatch.Alarm, description: str) -> None:
    notifications.on(
        rule_id,
        description=description,
        source="aws.cloudwatch",
        detail_types=["CloudWatch Alarm State Change"],
        detail={"alarmName": [alarm.alarm_name], "state": {"value": ["ALARM", "OK"]}},
    )
