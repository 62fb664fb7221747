"""The tables of metrics in docs/exporters.md, from the catalog."""

from __future__ import annotations

import re
from pathlib import Path

from catalog.metrics import Metric, of_exporter

PAGE = Path(__file__).parents[1] / "docs" / "exporters.md"
"""The page, in a checkout of the repository."""

_TABLE = re.compile(r"(<!-- metrics of ([a-z-]+): begin -->\n).*?(<!-- metrics: end -->)", re.DOTALL)


def table(exporter: str) -> str:
    """Return the table of an exporter's metrics, in Markdown.

    Raises:
        ValueError: the catalog has no metric of that exporter.
    """
    found = of_exporter(exporter)
    if not found:
        raise ValueError(f"the catalog has no metrics of exporter '{exporter}'")
    head = ("| metric | type | unit | labels | meaning |", "| --- | --- | --- | --- | --- |")
    return "".join(f"{line}\n" for line in (*head, *map(_row, found)))


def filled(text: str) -> str:
    """Return the text of a page with its tables as the catalog has them.

    Raises:
        ValueError: a table is of an exporter without metrics.
    """
    return _TABLE.sub(lambda found: f"{found[1]}{table(found[2])}{found[3]}", text)


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    cells = (f"`{metric.name}`", metric.type, metric.unit, labels, metric.help.replace("|", r"\|"))
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")
