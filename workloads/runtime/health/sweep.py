"""The verdicts of a sweep: a suite on the idle nodes of a cluster, one line for each node; the worst counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .report import NOT_JUDGED, OK, UNHEALTHY
from .severity import ACTIONS, Severity, severity_of, worst

SUITES = ("standard", "deep")
"""Suites that need a node without jobs."""


@dataclass(frozen=True)
class Line:
    """The verdict of a node, or the reason why the sweep left it out: `severity` is None then."""

    node: str
    severity: Severity | None
    reason: str


def of_report(node: str, report: Mapping[str, Any]) -> Line:
    """Return the line of a report's JSON.

    Raises:
        KeyError, ValueError: it is no report.
    """
    return Line(node, severity_of(str(report["severity"])), str(report["reason"]))


def verdict(lines: Iterable[Line]) -> Severity:
    """Return the worst severity; a sweep that checked no node could not judge."""
    judged = [line.severity for line in lines if line.severity is not None]
    return worst(judged) if judged else Severity.ERROR


def exit_code(lines: Iterable[Line]) -> int:
    """Return 0 where checked nodes are usable, 3 where something could not be judged and nothing is worse, else 1."""
    found = verdict(lines)
    if found.usable:
        return OK
    return NOT_JUDGED if found is Severity.ERROR else UNHEALTHY


def table(lines: Iterable[Line]) -> Iterator[str]:
    """Yield the lines of a table, the worst first and nodes that were left out last, and the verdict."""
    found = sorted(lines, key=lambda line: (line.severity is None, -(line.severity or 0), line.node))
    width = max([4, *(len(line.node) for line in found)])
    yield f"{'node':<{width}}  {'severity':<8}  reason"
    for line in found:
        word = "left out" if line.severity is None else line.severity.word
        yield f"{line.node:<{width}}  {word:<8}  {line.reason}".rstrip()
    judged = [line.severity for line in found if line.severity is not None]
    bad = sum(not severity.usable for severity in judged)
    over = verdict(found)
    action = ACTIONS[over] if judged else "no node was checked"
    yield (
        f"verdict over {len(judged)} nodes: {over.word} ({action}); {bad} not usable, "
        f"{len(found) - len(judged)} left out"
    )
