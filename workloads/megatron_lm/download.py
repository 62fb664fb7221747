"""The stage that fetches a gigabyte of OSCAR's English text and the vocabulary of GPT-2 into CORPUS_FOLDER.

The addresses are those of Megatron-LM's users for years, and no checksum is published beside them: what comes is
looked at instead. The text must be JSON lines with a field `text`, the vocabulary have 50257 words, and the merges
begin as GPT-2's file does. A file takes the place of an older one when it is whole.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from training import errors
from training.errors import NO_INPUT, WRITE, TrainingError, say

TEXT = "https://huggingface.co/bigscience/misc-test-data/resolve/main/stas/oscar-1GB.jsonl.xz"
VOCABULARY = "https://s3.amazonaws.com/models.huggingface.co/bert/gpt2-vocab.json"
MERGES = "https://s3.amazonaws.com/models.huggingface.co/bert/gpt2-merges.txt"

WORDS = 50257
"""The words of GPT-2's vocabulary."""

TRIES = 3
"""The requests for a file before it is given up: our choice."""

_TIMEOUT_SECONDS = 60
_PAUSE_SECONDS = 2


def _is_text(path: Path) -> bool:
    with path.open(encoding="utf-8") as lines:
        return "text" in json.loads(next(lines, "{}"))


def _is_vocabulary(path: Path) -> bool:
    return len(json.loads(path.read_text(encoding="utf-8"))) == WORDS


def _is_merges(path: Path) -> bool:
    with path.open(encoding="utf-8") as lines:
        return next(lines, "").startswith("#version")


FILES: dict[str, tuple[str, Callable[[Path], bool]]] = {
    "oscar-1GB.jsonl": (TEXT, _is_text),
    "gpt2-vocab.json": (VOCABULARY, _is_vocabulary),
    "gpt2-merges.txt": (MERGES, _is_merges),
}
"""Files, their addresses, and what is asked of each."""


def fetch(url: str, path: Path, is_right: Callable[[Path], bool]) -> None:
    """Fetch a file and unpack it: whole, or not at all.

    Raises:
        TrainingError: it cannot be fetched or written, or is not what it should be.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    for left in reversed(range(TRIES)):
        try:
            _copy(url, unfinished)
            break
        except (urllib.error.URLError, TimeoutError, EOFError, lzma.LZMAError) as error:
            if not left or (isinstance(error, urllib.error.HTTPError) and error.code < 500):
                raise TrainingError(f"'{url}' cannot be fetched: {error}", NO_INPUT) from error
            say(f"{url}: {error}; {left} more tries")
            time.sleep(_PAUSE_SECONDS)
        except OSError as error:
            raise TrainingError(f"'{path}' cannot be written: {error}", WRITE) from error
    try:
        right = is_right(unfinished)
    except (ValueError, TypeError):
        right = False
    if not right:
        unfinished.unlink()
        raise TrainingError(f"'{url}' is not what '{path.name}' should be; nothing was written", NO_INPUT)
    os.replace(unfinished, path)
    say(f"{path.name}: {path.stat().st_size} bytes")


def _copy(url: str, path: Path) -> None:
    # The addresses are those above.
    with (
        urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer,  # noqa: S310
        lzma.open(answer) if url.endswith(".xz") else answer as unpacked,
        path.open("wb") as to,
    ):
        shutil.copyfileobj(unpacked, to)


def main() -> None:
    """Fetch the files."""
    folder = os.environ.get("CORPUS_FOLDER", "")
    if not folder:
        raise TrainingError("the variable CORPUS_FOLDER is not set")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"'{folder}' cannot be made: {error}", WRITE) from error
    for name, (url, is_right) in FILES.items():
        fetch(url, Path(folder) / name, is_right)


if __name__ == "__main__":
    errors.run(main)
