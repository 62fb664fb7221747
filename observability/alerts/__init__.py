"""The alerts of a deployment, as rules that Prometheus and Amazon Managed Service for Prometheus evaluate."""

from __future__ import annotations

from typing import Final

import yaml

from observability.alerts import accelerators, counts, efa, nodes, runs
from observability.alerts.rules import RUNBOOKS as RUNBOOKS
from observability.alerts.rules import Alert, Group, Record

GROUPS: Final[tuple[Group, ...]] = (
    *(accelerators.RECORDS, counts.RECORDS, accelerators.ALERTS),
    *(group for subject in (efa, nodes, runs) for group in (subject.RECORDS, subject.ALERTS)),
)
"""All groups. An alert names recorded series of the group before its own; Prometheus evaluates groups side by side, so
that the alert may see a value of the minute before."""

CAPACITY_PAGE: Final = "reservation-ending"
EVENT_PAGES: Final = (CAPACITY_PAGE,)
"""Pages of docs/runbooks on alarms and events of AWS, which no rule evaluates."""


def rule_groups(runbooks: str | None = None) -> str:
    """Return all rules as the YAML text of a rule file; `runbooks` is the address of the pages, if any."""
    document = {"groups": [group.document(runbooks) for group in GROUPS]}
    return yaml.safe_dump(document, sort_keys=False, width=4096, allow_unicode=True)


def alerts() -> tuple[Alert, ...]:
    """Return all alerts."""
    return tuple(rule for group in GROUPS for rule in group.rules if isinstance(rule, Alert))


def records() -> tuple[Record, ...]:
    """Return all recorded series."""
    return tuple(rule for group in GROUPS for rule in group.rules if isinstance(rule, Record))
