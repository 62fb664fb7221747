"""Findings and rules on a terminal: coloured where there is one, plain text in a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from catalog.finding import Finding
from cli.table import print_table
from settings.parser.values import printable
from settings.report import counted, place, report
from settings.rules.rule_table import RuleEntry

_STYLES = {"error": "bold red", "warning": "bold yellow"}


def print_findings(findings: Sequence[Finding], path: Path) -> None:
    """Print findings, errors first, each with its place, what is wrong, the next step and its rule.

    A pipe gets the same text as `cdk synth` prints. Values are printed as text: markup in them means nothing.
    """
    if not findings:
        return
    console = Console(highlight=False)
    ordered = sorted(findings, key=lambda finding: not finding.is_error)
    if not console.is_terminal:
        console.print(Text(report(ordered, path)), soft_wrap=True)
        return
    console.print(Text.assemble((f"{printable(str(path))}: ", "bold"), counted(findings)))
    for finding in ordered:
        console.print()
        console.print(
            Text.assemble(
                (str(finding.severity), _STYLES[finding.severity]),
                " ",
                (place(finding), "bold"),
                (f"  {finding.rule}", "dim"),
            )
        )
        console.print(Padding(Text(printable(finding.message)), (0, 0, 0, 2)))
        if finding.hint:
            console.print(Padding(Text(printable(finding.hint), style="green"), (0, 0, 0, 2)))
    console.print()


def print_rules(entries: Sequence[RuleEntry]) -> None:
    """Print the rules as a table."""
    rows = [
        (entry.name, entry.severity, "acknowledgeable" if entry.acknowledgeable else "-", entry.reason)
        for entry in entries
    ]
    print_table(("Rule", "Severity", "Acknowledgeable", "Reason"), rows, _STYLES)
