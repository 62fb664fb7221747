"""Guides that show what was measured: a table between two markers, written by the command that measures."""

from __future__ import annotations

import argparse
import re
from pathlib import Path


def guide(text: str) -> Path:
    """Return an existing file that argparse is given: what is to be kept there may take an hour to measure."""
    file = Path(text)
    if not file.is_file():
        raise argparse.ArgumentTypeError(f"'{text}' is not a file, with markers between which the table goes")
    return file


def keep(file: Path, name: str, text: str) -> None:
    """Put a text between a file's markers `<!-- name -->` and `<!-- /name -->`, in place of what is there.

    Raises:
        ValueError: the file has no such markers.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before = file.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    after, found = pattern.subn(lambda _: f"{begin}\n{text}\n{end}", before, count=1)
    if not found:
        raise ValueError(f"'{file}' has no place for the table: '{begin}' and, after it, '{end}'")
    file.write_text(after, encoding="utf-8")
