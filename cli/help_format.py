"""The form of help: headings and names in colour on a terminal, plain text elsewhere."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence

import typer
from typer.core import TyperGroup

WIDTH = 100
"""Most columns that help takes."""

_Plain = TyperGroup.context_class.formatter_class
"""The formatter of the framework, which writes no colour."""


def _styled(text: str, **style: object) -> str:
    """Return text with a style; none where the user wants no colour (no-color.org). A pipe gets none either way."""
    return text if os.environ.get("NO_COLOR") else typer.style(text, **style)  # type: ignore[arg-type]


class HelpFormatter(_Plain):  # type: ignore[valid-type,misc]
    """Writes help in colour; `typer.echo` takes the colour out where the output is no terminal."""

    def write_heading(self, heading: str) -> None:
        """Write the heading of a section."""
        super().write_heading(_styled(heading, bold=True))

    def write_text(self, text: str) -> None:
        """Write paragraphs; a line never ends inside an option, as between ' and --stage."""
        indent = " " * self.current_indent
        paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
        filled = [
            textwrap.fill(
                paragraph,
                self.width,
                initial_indent=indent,
                subsequent_indent=indent,
                break_on_hyphens=False,
                break_long_words=False,
            )
            for paragraph in paragraphs
        ]
        self.write("\n\n".join(filled))
        self.write("\n")

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names with their explanations."""
        coloured = [(_styled(name, fg="cyan"), text) for name, text in rows]
        super().write_dl(coloured, col_max, col_spacing)


def use() -> None:
    """Have every command write its help in this form."""
    TyperGroup.context_class.formatter_class = HelpFormatter


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": WIDTH}
"""Settings of the command's context, which its verbs inherit."""
