"""Tables: drawn on a terminal, one row per line with tabs between the values in a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from settings.parser.values import printable


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Mapping[str, str] | None = None,
    empty: str = "",
    *,
    headed: bool = False,
) -> None:
    """Print rows of text, each with as many values as there are headings.

    A pipe gets no headings, so that `cut` and `awk` can read it, unless the table is `headed`. `styles` maps a value
    to the style that it has on a terminal, and `empty` is what a terminal shows where there are no rows.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        for row in [headings, *rows] if headed else rows:
            typer.echo("\t".join(printable(value) for value in row))
        return
    if not rows:
        console.print(Text(empty or "none"))
        return
    table = Table()
    for heading in headings:
        # A narrow terminal breaks values over lines; by default it would cut them.
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(value), style=(styles or {}).get(value, "")) for value in row))
    console.print(table)
