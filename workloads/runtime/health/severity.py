"""Severities of findings, in order, and the action that follows on each: the worst of a node counts."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Severity(IntEnum):
    """The severity of a finding; a higher number is worse.

    ERROR is below RESET: where a fault is known, its repair goes before a check that could not judge. It is never a
    pass: the node takes no job, and nobody repairs it automatically.
    """

    OK = 0
    MONITOR = 1
    ERROR = 2
    RESET = 3
    REBOOT = 4
    ISOLATE = 5
    REPLACE = 6

    @property
    def word(self) -> str:
        """The name in reports: `reset` of RESET."""
        return self.name.lower()

    @property
    def usable(self) -> bool:
        """True if the node may take jobs."""
        return self <= Severity.MONITOR


ACTIONS = {
    Severity.OK: "none",
    Severity.MONITOR: "the node keeps its jobs; the finding is recorded",
    Severity.ERROR: "a check could not judge: the node takes no job, and a person reads why",
    Severity.RESET: "the node takes no job; its GPUs are reset, or it is rebooted where nothing resets them",
    Severity.REBOOT: "the node takes no job and is rebooted",
    Severity.ISOLATE: "the node takes no job and stays as it is; a person decides",
    Severity.REPLACE: "the node takes no job; its instance is replaced",
}


def worst(severities: Iterable[Severity]) -> Severity:
    """Return the worst of severities; OK where there is none."""
    return max(severities, default=Severity.OK)


def severity_of(word: str) -> Severity:
    """Return the severity of a report's word.

    Raises:
        ValueError: there is no such severity.
    """
    for severity in Severity:
        if severity.word == word:
            return severity
    raise ValueError(f"severity '{word}' is none of {', '.join(each.word for each in Severity)}")
