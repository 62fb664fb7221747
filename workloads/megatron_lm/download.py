"""The stage that fetches a gigabyte of OSCAR's English text and the vocabulary of GPT-2 into CORPUS_FOLDER.

Both are files of the Hugging Face hub, each read at one commit, which revisions.json has. What comes is looked at: the
text must be JSON lines with a field `text`, the vocabulary have 50257 words, and the merges begin as GPT-2's file does.
A file takes the place of an older one when it is whole.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training import errors, hub
from training.errors import NO_INPUT, WRITE, TrainingError, say

TEXT = "bigscience/misc-test-data"
VOCABULARY = "openai-community/gpt2"

WORDS = 50257
"""The words of GPT-2's vocabulary."""


def _is_text(path: Path) -> bool:
    with path.open(encoding="utf-8") as lines:
        return "text" in json.loads(next(lines, "{}"))


def _is_vocabulary(path: Path) -> bool:
    return len(json.loads(path.read_text(encoding="utf-8"))) == WORDS


def _is_merges(path: Path) -> bool:
    with path.open(encoding="utf-8") as lines:
        return next(lines, "").startswith("#version")


FILES: dict[str, tuple[str, str, Callable[[Path], bool]]] = {
    "oscar-1GB.jsonl": (TEXT, "stas/oscar-1GB.jsonl.xz", _is_text),
    "gpt2-vocab.json": (VOCABULARY, "vocab.json", _is_vocabulary),
    "gpt2-merges.txt": (VOCABULARY, "merges.txt", _is_merges),
}
"""Files, the repository and the file of each, and what is asked of it."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line."""

    revision: str
    vocabulary_revision: str


def options(words: Sequence[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="download.py", description="Fetch text and a vocabulary to CORPUS_FOLDER.", allow_abbrev=False
    )
    hub.add_revision(parser)
    parser.add_argument(
        "--vocabulary-revision",
        default="",
        metavar="COMMIT",
        help="as --revision, of GPT-2's vocabulary; default: the newest",
    )
    return Options(**vars(parser.parse_args(words)))


def unpack(packed: Path, path: Path, is_right: Callable[[Path], bool]) -> None:
    """Unpack a file that was fetched to its place: whole, or not at all.

    Raises:
        TrainingError: it cannot be unpacked or written, or is not what it should be.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with (
            lzma.open(packed) if packed.suffix == ".xz" else packed.open("rb") as source,
            unfinished.open("wb") as to,
        ):
            shutil.copyfileobj(source, to)
        right = is_right(unfinished)
    except (EOFError, lzma.LZMAError) as error:
        unfinished.unlink(missing_ok=True)
        raise TrainingError(
            f"'{packed}' cannot be unpacked: {error}; nothing was written", NO_INPUT
        ) from error
    except OSError as error:
        raise TrainingError(f"'{path}' cannot be written: {error}", WRITE) from error
    except (ValueError, TypeError):
        right = False
    if not right:
        unfinished.unlink()
        raise TrainingError(f"'{packed}' is not what '{path.name}' should be; nothing was written", NO_INPUT)
    os.replace(unfinished, path)
    say(f"{path.name}: {path.stat().st_size} bytes")


def main() -> None:
    """Fetch the files."""
    chosen = options()
    folder = os.environ.get("CORPUS_FOLDER", "")
    if not folder:
        raise TrainingError("the variable CORPUS_FOLDER is not set")
    fetched = Path(folder) / ".fetched"
    try:
        fetched.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"'{folder}' cannot be made: {error}", WRITE) from error
    commits = {
        TEXT: hub.commit(TEXT, chosen.revision),
        VOCABULARY: hub.commit(VOCABULARY, chosen.vocabulary_revision),
    }
    for name, (repository, file, is_right) in FILES.items():
        hub.fetch(repository, [file], commits[repository], fetched)
        unpack(fetched / file, Path(folder) / name, is_right)
        hub.record(Path(folder), repository, commits[repository])
    shutil.rmtree(fetched)


if __name__ == "__main__":
    errors.run(main)
