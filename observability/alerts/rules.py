"""The data types of rules: alerts, recorded series, and groups of them, as Prometheus reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

Severity = Literal["critical", "warning", "info"]
"""The value of an alert's label `severity`. Critical: a run or a node is lost or wrong; warning: it may soon be, or
capacity is wasted; info: a person who asks why a run is slow wants to know."""

RUNBOOKS: Final = "docs/runbooks"
"""The folder of the pages of alerts in the repository."""

PLACES: Final = ("cluster", "node", "run", "gpu", "device")
"""Labels that say where an alert is, in the order in which a summary shows them."""

_ALERT = re.compile(r"[A-Z][a-zA-Z]+")
_RECORD = re.compile(r"[a-z_]+:[a-z_0-9]+:[a-z_0-9]+")
_DURATION = re.compile(r"\d+[smhd]")
_PAGE = re.compile(r"[a-z-]+")


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert.

    `expr` is true for each place that has the fault, and `hold` is the time for which it must be (0s: at once).
    `labels` are the labels that `expr` leaves, so that their number is bounded: nodes, devices and runs that exist.
    `summary` says in a sentence what is wrong where; `page` names the page of docs/runbooks/. Alerts of several
    severities on one fault have its name as `fault`, a label by which the worse one inhibits the other.

    Raises:
        ValueError: a name, a duration or a severity is none, or a label is missing in the summary.
    """

    name: str
    expr: str
    severity: Severity
    hold: str
    labels: tuple[str, ...]
    summary: str
    page: str
    fault: str = ""

    def __post_init__(self) -> None:
        """Check the alert; all mistakes at once."""
        mistakes = []
        if not _ALERT.fullmatch(self.name):
            mistakes.append("the name is not in CamelCase")
        if not _DURATION.fullmatch(self.hold):
            mistakes.append(f"'{self.hold}' is no duration such as 10m")
        if self.severity not in get_args(Severity):
            mistakes.append(f"severity '{self.severity}' is not one of {', '.join(get_args(Severity))}")
        if not _PAGE.fullmatch(self.page):
            mistakes.append(f"'{self.page}' names no page")
        if "cluster" not in self.labels:
            mistakes.append("the labels have no cluster")
        mistakes += [
            f"the summary does not show the label '{label}'"
            for label in self.labels
            if f"$labels.{label} " not in self.summary
        ]
        if mistakes:
            raise ValueError(f"alert '{self.name}': {'; '.join(mistakes)}")

    def rule(self, runbooks: str | None) -> dict[str, Any]:
        """Return the rule as Prometheus reads it; `runbooks` is the address of the pages, if any.

        Without an address the annotation `runbook` has the page's path in the repository: `runbook_url` is a link
        wherever it is shown.
        """
        page = (
            {"runbook": f"{RUNBOOKS}/{self.page}.md"}
            if runbooks is None
            else {"runbook_url": f"{runbooks.rstrip('/')}/{self.page}.md"}
        )
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.hold,
            "labels": {"severity": self.severity, **({"fault": self.fault} if self.fault else {})},
            "annotations": {"summary": self.summary, **page},
        }


@dataclass(frozen=True, kw_only=True)
class Record:
    """A recorded series: level, metric and operation in its name, as Prometheus' guide on recording rules has it.

    Raises:
        ValueError: the name has another form.
    """

    name: str
    expr: str
    help: str

    def __post_init__(self) -> None:
        """Check the name."""
        if not _RECORD.fullmatch(self.name):
            raise ValueError(f"record '{self.name}' has not the form level:metric:operation")

    def rule(self, runbooks: str | None) -> dict[str, Any]:  # noqa: ARG002 - as an alert
        """Return the rule as Prometheus reads it."""
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rules that are evaluated one after the other in each `interval`; later ones see the values of earlier ones.

    An alert has the interval of a minute. A recorded series with a longer one than Prometheus looks back for a value,
    five minutes, can only be read over a range.
    """

    name: str
    rules: tuple[Alert | Record, ...]
    interval: str = "1m"

    def document(self, runbooks: str | None = None) -> dict[str, Any]:
        """Return the group as Prometheus reads it."""
        return {
            "name": f"trainforge-{self.name}",
            "interval": self.interval,
            "rules": [rule.rule(runbooks) for rule in self.rules],
        }


def by(*labels: str, operator: str = "max") -> str:
    """Return the start of an aggregation that leaves these labels: `max by (cluster, node)`."""
    return f"{operator} by ({', '.join(labels)})"


def place(**words: str) -> str:
    """Return the words of a summary that say where: each label after its word."""
    return ", ".join(f"{word} {{{{ $labels.{label} }}}}" for label, word in words.items())


def expressions(groups: Iterable[Group]) -> Mapping[str, str]:
    """Return the expression of each rule by its name."""
    return {rule.name: rule.expr for group in groups for rule in group.rules}
