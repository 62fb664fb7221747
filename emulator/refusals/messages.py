"""SSM's parameter sizes, EventBridge's pattern size and the periods of CloudWatch's alarms."""

from __future__ import annotations

import json
from collections.abc import Iterator

from emulator.refusals.refusal import number, refuses
from emulator.resources.resource import Resource

# Systems Manager user guide, "Managing parameter tiers".
_STANDARD, _ADVANCED = 4096, 8192
# EventBridge user guide, "Quotas": event pattern size.
_PATTERN = 2048
# CloudWatch's API reference, PutMetricAlarm, Period; in seconds.
_HIGH_RESOLUTION = (10, 20, 30)
_HOUR, _DAY, _WEEK = 3600, 86_400, 604_800


@refuses("AWS::SSM::Parameter")
def _value(resource: Resource) -> Iterator[str]:
    """A standard parameter holds 4 KiB, an advanced one 8; intelligent tiering chooses between the two."""
    length = len(str(resource.properties.get("Value", "")).encode())
    most = _STANDARD if resource.properties.get("Tier", "Standard") == "Standard" else _ADVANCED
    if length > most:
        yield f"Parameter value of {length} bytes exceeds the maximum of {most} bytes of its tier"


@refuses("AWS::Events::Rule")
def _pattern(resource: Resource) -> Iterator[str]:
    """An event pattern has at most 2,048 characters."""
    pattern = resource.properties.get("EventPattern")
    length = len(json.dumps(pattern, separators=(",", ":"))) if pattern else 0
    if length > _PATTERN:
        yield f"Event pattern of {length} characters exceeds the maximum of {_PATTERN}"


@refuses("AWS::CloudWatch::Alarm")
def _periods(resource: Resource) -> Iterator[str]:
    """An alarm reads whole minutes, over a day at most, or a week with a period of an hour and more."""
    period, count, breaching = (
        number(resource.properties.get(name)) for name in ("Period", "EvaluationPeriods", "DatapointsToAlarm")
    )
    if count is not None and breaching is not None and breaching > count:
        yield f"DatapointsToAlarm {breaching} is more than EvaluationPeriods {count}"
    if period is None:
        # Alarms on expressions have a period for each metric.
        return
    if period not in _HIGH_RESOLUTION and (period < 1 or period % 60):
        yield f"Period {period} must be 10, 20, 30 or a multiple of 60"
    most = _WEEK if period >= _HOUR else _DAY
    if count is not None and period * count > most:
        yield f"Metrics cannot be checked across more than {most} seconds (EvaluationPeriods {count} * Period {period})"
