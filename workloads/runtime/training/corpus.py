"""Text to train on: files of C4 from the Hugging Face hub, or files of JSON lines, read document by document."""

from __future__ import annotations

import argparse
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from training import hub
from training.arguments import span
from training.errors import NO_INPUT, TrainingError, say

C4 = "allenai/c4"
"""The data set of C4 on the hub."""

FILES = 1024
"""The files of its English training part (`en/c4-train.00000-of-01024.json.gz` and on)."""


def add_options(parser: argparse.ArgumentParser, files: str) -> None:
    """Add the options that name the text; `files` are the files of C4 by default."""
    parser.add_argument(
        "--files",
        type=span(FILES),
        default=files,
        metavar="N-M",
        help="files of C4's English training part, of 0-1023 (default %(default)s)",
    )
    parser.add_argument(
        "--text",
        nargs="+",
        default=[],
        metavar="FILE",
        help="JSON lines with a field 'text', gzipped or not, in place of C4",
    )
    hub.add_revision(parser)


def c4(files: Sequence[int], fetched: str, folder: Path) -> Iterator[Path]:
    """Yield files of C4 at a commit, each fetched into a folder when it is its turn and removed after it.

    Raises:
        TrainingError: one cannot be fetched.
    """
    for done, number in enumerate(files):
        name = f"en/c4-train.{number:05d}-of-{FILES:05d}.json.gz"
        hub.fetch(C4, [name], fetched, folder, "dataset")
        yield folder / name
        (folder / name).unlink()
        say(f"file {number}: done, {done + 1} of {len(files)}")


def texts(files: Iterable[str | Path]) -> Iterator[str]:
    """Yield the texts of files of JSON lines, in order; empty ones are left out.

    Raises:
        TrainingError: a file cannot be read, or a line has no text: null is none.
    """
    for file in map(Path, files):
        try:
            opening = gzip.open if file.suffix == ".gz" else open
            with opening(file, "rt", encoding="utf-8") as lines:
                for line, content in enumerate(lines, 1):
                    text, problem = _text(content)
                    if problem:
                        raise TrainingError(f"'{file}', line {line}: {problem}", NO_INPUT)
                    if text:
                        yield text
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            raise TrainingError(f"'{file}' cannot be read: {error}", NO_INPUT) from error


def _text(content: str) -> tuple[str, str]:
    """Return the text of a line, and what is wrong with it; empty where nothing is."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    text = document.get("text") if isinstance(document, dict) else None
    if not isinstance(text, str):
        return "", "no JSON object with a field 'text' that is a string"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # JSON can escape half of a pair of UTF-16, which no tokenizer takes.
        return "", f"its text has no UTF-8 form: {error.reason} at character {error.start + 1}"
    return text, ""
