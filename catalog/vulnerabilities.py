"""Severities of vulnerabilities that scans of images report, and the events that report them."""

from __future__ import annotations

from typing import Final, Literal, get_args

VulnerabilitySeverity = Literal["critical", "high", "medium"]
"""The severities that all three scans count (Image Builder User Guide, "Event messages that Image Builder sends"; ECR
User Guide, "Amazon ECR events and EventBridge"; Inspector User Guide, "EventBridge schema for Amazon Inspector
events"; read 2026-11-29). ECR's own scan counts lower ones too."""

SEVERITIES: Final[tuple[VulnerabilitySeverity, ...]] = get_args(VulnerabilitySeverity)
"""The severities, the worst first."""

COUNTS: Final = "finding-severity-counts"
"""The member of an event's detail with the number of findings by severity."""

MAX_PATTERN_ARNS: Final = 10
"""ARNs in the pattern of a rule. It has 2,048 characters at most (EventBridge User Guide, "Amazon EventBridge quotas"),
and the ARN of a repository or pipeline about 150."""


def at_least(least: VulnerabilitySeverity) -> tuple[VulnerabilitySeverity, ...]:
    """Return a severity and those that are worse, the worst first."""
    return SEVERITIES[: SEVERITIES.index(least) + 1]
