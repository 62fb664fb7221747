"""Notifications of vulnerabilities that scans find in container images and machine images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aws_cdk import aws_events as events

from catalog.vulnerabilities import COUNTS, MAX_PATTERN_ARNS, VulnerabilitySeverity, at_least
from trainforge.notifications import Notifications


def notify_of_container_vulnerabilities(
    notifications: Notifications, repository_arns: Sequence[str], *, least: VulnerabilitySeverity
) -> list[events.Rule]:
    """Send the results of scans with a finding of severity `least` or worse in the images of these repositories.

    An image must be pushed after the rules, which are returned: its scan is reported once.

    Both scans tell of a pushed image by the repository's ARN: ECR's own (ECR User Guide, "Amazon ECR events and
    EventBridge"), and Inspector's where the registry has enhanced scanning ("EventBridge events sent for enhanced
    scanning in Amazon ECR").
    """
    return _notify(
        notifications,
        repository_arns,
        rule_id="ImageVulnerabilities",
        description="Vulnerabilities of container images",
        source=("aws.ecr", "aws.inspector2"),
        detail_types=("ECR Image Scan", "Inspector2 Scan"),
        detail=_found(least, str.upper),
    )


def notify_of_machine_image_vulnerabilities(
    notifications: Notifications, pipeline_arns: Sequence[str], *, least: VulnerabilitySeverity
) -> None:
    """Send the results of scans with a finding of severity `least` or worse in the images of these pipelines.

    Image Builder has Inspector scan the test instance (Image Builder User Guide, "Event messages that Image Builder
    sends", CVE Detected).
    """
    _notify(
        notifications,
        pipeline_arns,
        rule_id="Vulnerabilities",
        description="Vulnerabilities of machine images",
        source=("aws.imagebuilder",),
        detail_types=("EC2 Image Builder CVE Detected",),
        detail=_found(least, str.lower),
    )


def _notify(
    notifications: Notifications,
    arns: Sequence[str],
    *,
    rule_id: str,
    description: str,
    source: Sequence[str],
    detail_types: Sequence[str],
    detail: dict[str, Any],
) -> list[events.Rule]:
    return [
        notifications.on(
            f"{rule_id}{'' if number == 1 else number}",
            description=description,
            source=source,
            detail_types=detail_types,
            detail=detail,
            resources=arns[start : start + MAX_PATTERN_ARNS],
        )
        for number, start in enumerate(range(0, len(arns), MAX_PATTERN_ARNS), start=1)
    ]


def _found(least: VulnerabilitySeverity, spelled: Callable[[str], str]) -> dict[str, Any]:
    """Return the part of a pattern that takes a finding of this severity or a worse one.

    A severity without findings may be absent (EventBridge User Guide, "Comparison operators", `$or`).
    """
    return {COUNTS: {"$or": [{spelled(one): [{"numeric": [">", 0]}]} for one in at_least(least)]}}
