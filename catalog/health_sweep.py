"""The sweep of an EKS cluster's idle nodes: its settings, and its names in the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from catalog.fields import Pattern

HEALTH_NAMESPACE = "trainforge-health"
"""The namespace of the health checks."""

HEALTH_SWEEP = "health-sweep"
"""The name of the CronJob, its account and its Jobs' labels."""

SweepSuite = Literal["standard", "deep"]


@dataclass(frozen=True, slots=True)
class HealthSweep:
    """The checks of idle nodes by a longer suite, on request (`trainforge sweep`) or on a schedule."""

    suite: SweepSuite = "standard"
    """The suite: standard takes minutes, deep up to an hour and more."""
    schedule: Annotated[str, Pattern(r"^[0-9*/,-]+( [0-9A-Za-z*/,-]+){4}$")] | None = None
    """Times of its start, in UTC, as five fields of cron: '0 3 * * *' is each night at three; absent: on request."""
