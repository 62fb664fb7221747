"""The table of docs/verification.md with the proof of each workload in each format."""

from __future__ import annotations

import re
from pathlib import Path

from workloads import registry

PAGE = Path(__file__).parents[2] / "docs" / "verification.md"
"""The page. A checkout has it; a copy of the package alone may not."""

_BEGIN, _END = "<!-- proofs: begin -->\n", "<!-- proofs: end -->\n"


def table() -> str:
    """Return the rows of all workloads as a Markdown table, one per format."""
    rows = ["| workload | format | proof | what ran |", "| --- | --- | --- | --- |"]
    for name in registry.names():
        for format_, proven in registry.workload(name).proofs.items():
            rows.append(f"| `{name}` | {format_} | {proven} | {proven.size or 'nothing'} |")
    return "".join(f"{row}\n" for row in rows)


def page(text: str) -> str:
    """Return the page with the current table.

    Raises:
        ValueError: the page has no place for it.
    """
    found, count = re.subn(f"{_BEGIN}.*?{_END}", lambda _: f"{_BEGIN}{table()}{_END}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"'{PAGE.name}' needs the lines '{_BEGIN.strip()}' and '{_END.strip()}' once")
    return found
