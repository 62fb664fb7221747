"""Facts about metrics and alerts of a deployment: severities, limits, names that stacks and nodes share."""

from __future__ import annotations

from typing import Final, Literal

Severity = Literal["critical", "warning", "info"]
"""The value of the label `severity` of an alert. Critical: a run or node is lost; warning: it may soon be."""

SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "warning", "info")

WORKSPACE_ID: Final = r"ws-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""The form of a workspace's id (botocore, amp, the examples of CreateWorkspace)."""

ENDPOINT: Final = "aps-workspaces"
"""The service that receives metrics, the last part of `com.amazonaws.REGION.aps-workspaces` (Amazon Managed Prometheus
guide, "Using Amazon Managed Service for Prometheus with interface VPC endpoints")."""

REPEAT_HOURS: Final = {"critical": 4, "warning": 24, "info": 120}
"""Hours after which an alert that still fires is sent again; the service takes five days at most (guide, "Create an
alert manager configuration")."""

MIN_COLLECTOR_SECONDS: Final = 30
"""The shortest interval at which a collector of AWS scrapes (CloudWatch User Guide, "Scraper configuration" of managed
Prometheus collectors, limits; CreateScraper makes both those and the ones that write to a workspace)."""

CAPACITY_NAMESPACE: Final = "Trainforge/Capacity"
HOURS_UNTIL_END: Final = "HoursUntilEnd"
"""The metric of CloudWatch, and its namespace, with the hours until reserved capacity ends. Its dimensions are
`Deployment` and `Reservation`: an id, or of an ARN what is after the account. A year is its maximum, for capacity that
ends later or never too."""


def metrics_parameter(deployment: str) -> str:
    """Return the name of the SSM parameter that tells nodes where they send metrics."""
    return f"/trainforge/{deployment}/observability/metrics"
