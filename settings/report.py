"""Findings as plain text: the one form in which synthesis and the command line print them."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.finding import Finding, Severity
from settings.parser.values import printable


@dataclass(frozen=True, slots=True)
class LocatedFinding(Finding):
    """A finding with the line of the file on which its value is, or the nearest part above it."""

    line: int | None = None

    @classmethod
    def of(cls, finding: Finding, line: int | None) -> LocatedFinding:
        """Return the finding with a line."""
        return cls(
            finding.rule, finding.severity, finding.path, finding.value, finding.message, finding.hint, line
        )


def say(text: str) -> None:
    """Print to standard error: the CDK CLI keeps standard output for templates."""
    print(text, file=sys.stderr)  # noqa: T201


def report(findings: Sequence[Finding], path: str | Path, width: int = 110) -> str:
    """Return findings as text for people, errors and warnings in the order given, without a final newline.

    The first line counts them; each has its place, what is wrong, the next step and its rule's name.
    """
    lines = [f"{printable(str(path))}: {counted(findings)}"]
    for finding in findings:
        lines += ["", f"{finding.severity}: {place(finding)} [{finding.rule}]"]
        lines += _wrapped(finding.message, width)
        if finding.hint:
            lines += _wrapped(finding.hint, width)
    return "\n".join(lines)


def counted(findings: Sequence[Finding]) -> str:
    """Return how many errors and warnings there are, in words."""
    parts = []
    for severity in Severity:
        count = sum(finding.severity is severity for finding in findings)
        if count:
            parts.append(f"{count} {severity}{'s' if count > 1 else ''}")
    return ", ".join(parts) or "no findings"


def place(finding: Finding) -> str:
    """Return where a finding is: its path, and its line where it is known."""
    line = getattr(finding, "line", None)
    where = printable(finding.path) or "configuration"
    return f"{where} (line {line})" if line else where


def _wrapped(text: str, width: int) -> list[str]:
    indent = "  "
    return textwrap.wrap(
        printable(text),
        max(width, 40),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
