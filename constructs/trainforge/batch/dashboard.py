"""A dashboard of jobs: what failed, what blocks a queue, what is being logged, how full the file system is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

_WIDTH = 12
_HEIGHT = 6


class JobDashboard(Construct):
    """A CloudWatch dashboard of jobs. Batch has no metrics of jobs, so it shows those of the rules on Batch's events.

    `rules` are names of EventBridge rules by what they count. One raw body: widgets of the CDK cost a multiple.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        title: str,
        log_group_name: str,
        rules: Mapping[str, str],
        file_system_id: str = "",
    ) -> None:
        super().__init__(scope, construct_id)
        region = cdk.Stack.of(self).region
        widgets = [
            _metrics(
                "Jobs",
                region,
                [
                    ["AWS/Events", "MatchedEvents", "RuleName", rule, {"label": label}]
                    for label, rule in rules.items()
                ],
                "Sum",
            ),
            _metrics(
                "Log lines of jobs (a run that says nothing hangs)",
                region,
                [["AWS/Logs", "IncomingLogEvents", "LogGroupName", log_group_name]],
                "Sum",
            ),
            _log(
                "Last lines with an error",
                region,
                log_group_name,
                "fields @timestamp, @logStream, @message | filter @message like /(?i)error|exception|traceback/ "
                "| sort @timestamp desc | limit 50",
            ),
        ]
        if file_system_id:
            where = ["FileSystemId", file_system_id]
            widgets += [
                _metrics(
                    "Lustre: bytes read and written",
                    region,
                    [["AWS/FSx", name, *where] for name in ("DataReadBytes", "DataWriteBytes")],
                    "Sum",
                ),
                _metrics(
                    "Lustre: free bytes", region, [["AWS/FSx", "FreeDataStorageCapacity", *where]], "Sum"
                ),
            ]
        placed = [
            {**widget, "x": index % 2 * _WIDTH, "y": index // 2 * _HEIGHT, "width": _WIDTH, "height": _HEIGHT}
            for index, widget in enumerate(widgets)
        ]
        heading = {
            "type": "text",
            "x": 0,
            "y": -(-len(widgets) // 2) * _HEIGHT,
            "width": 24,
            "height": 2,
            "properties": {"markdown": title},
        }
        body = json.dumps({"widgets": [*placed, heading]})
        self.dashboard = cloudwatch.CfnDashboard(self, "Dashboard", dashboard_body=body)
        self.dashboard_name: str = self.dashboard.ref


def _metrics(title: str, region: str, metrics: list[list[Any]], statistic: str) -> dict[str, Any]:
    properties = {
        "title": title,
        "region": region,
        "metrics": metrics,
        "stat": statistic,
        "period": 300,
        "view": "timeSeries",
    }
    return {"type": "metric", "properties": properties}


def _log(title: str, region: str, group: str, query: str) -> dict[str, Any]:
    properties = {"title": title, "region": region, "query": f"SOURCE '{group}' | {query}", "view": "table"}
    return {"type": "log", "properties": properties}
