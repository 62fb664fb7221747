"""The stages that make the tokens that NxD's programs train on: synthetic ones, or those of c4.

The result is a data set of the package `datasets` on disk, with rows of `input_ids`, `attention_mask` and `labels` of
one length, as NxD's own get_dataset.py has it. It takes the place of an older one when it is whole.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import whole_folder
from training import hub, tokenizer
from training.arguments import positive
from training.errors import TrainingError
from training.tokenizer import Tokenizer

CORPUS = "allenai/c4"
"""The data set of c4 on the Hugging Face hub."""

VOCABULARY = 128256
"""The vocabulary of Llama 3."""

NO_INPUT, WRITE = 66, 74
"""Exit codes: what is read cannot be had, and the result cannot be written."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line."""

    corpus: str
    sequences: int
    sequence_length: int
    tokenizer: str
    revision: str


def options(words: Sequence[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(prog="make_tokens.py", allow_abbrev=False)
    parser.add_argument(
        "corpus", choices=("synthetic", "c4"), help="also the variable: SYNTHETIC_TOKENS, C4_TOKENS"
    )
    parser.add_argument("--sequences", type=positive, default=16384, help="rows of the result")
    parser.add_argument("--sequence-length", type=positive, default=8192)
    parser.add_argument(
        "--tokenizer",
        default="meta-llama/Meta-Llama-3-8B",
        metavar="NAME[@COMMIT]|FILE",
        help="of c4: a model of the Hugging Face hub, or a file tokenizer.json",
    )
    hub.add_revision(parser)
    return Options(**vars(parser.parse_args(words)))


def synthetic(length: int) -> Iterator[list[int]]:
    """Yield arithmetic sequences, each a function of its number."""
    number = 0
    while True:
        start, step = number * 7919 % VOCABULARY, number % 97 + 1
        yield [(start + step * place) % VOCABULARY for place in range(length)]
        number += 1


def packed(documents: Iterable[Sequence[int]], length: int) -> Iterator[list[int]]:
    """Yield sequences of one length out of documents, one after the other; the last rest is left out."""
    rest: list[int] = []
    for document in documents:
        rest.extend(document)
        while len(rest) >= length:
            yield rest[:length]
            rest = rest[length:]


def c4(settings: Options) -> Iterator[list[int]]:
    """Yield the tokens of c4's documents, each with its begin and end."""
    repository, commit = hub.named(settings.tokenizer)
    known = Tokenizer(repository, commit)
    # Streamed: a run reads as much as it takes.
    for document in hub.documents(CORPUS, "en", "train", settings.revision):
        yield known.tokens(document["text"])


def rows(sequences: Iterable[list[int]]) -> Iterator[dict[str, list[int]]]:
    """Yield the rows of the data set."""
    for tokens in sequences:
        yield {"input_ids": tokens, "attention_mask": [1] * len(tokens), "labels": tokens}


def generated(settings: Options) -> Iterator[dict[str, Any]]:
    """Yield the rows that the options ask for."""
    sequences = (
        synthetic(settings.sequence_length)
        if settings.corpus == "synthetic"
        else packed(c4(settings), settings.sequence_length)
    )
    yield from rows(islice(sequences, settings.sequences))


def make(settings: Options, folder: Path) -> int:
    """Make the data set in a folder, in place of what is there; return the number of its rows."""
    from datasets import Dataset

    with whole_folder.replaced(folder) as new:
        cache = new.with_name(f"{new.name}.cache")
        shutil.rmtree(cache, ignore_errors=True)
        try:
            made = Dataset.from_generator(generated, gen_kwargs={"settings": settings}, cache_dir=str(cache))
            made.save_to_disk(str(new))
        finally:
            shutil.rmtree(cache, ignore_errors=True)
        if settings.corpus == "c4":
            for text in (f"{CORPUS}@{settings.revision}", settings.tokenizer):
                repository, commit = hub.named(text)
                if commit:
                    hub.record(new, repository, commit)
    return len(made)


def main() -> int:
    """Make what the command line names, and return the exit code."""
    settings = options()
    folder = Path(os.environ[f"{settings.corpus.upper()}_TOKENS"])
    try:
        if settings.corpus == "c4":
            commit = tokenizer.commit(settings.tokenizer)
            settings = replace(
                settings,
                revision=hub.commit(CORPUS, settings.revision, "dataset"),
                tokenizer=f"{hub.named(settings.tokenizer)[0]}@{commit}" if commit else settings.tokenizer,
            )
        number = make(settings, folder)
    except TrainingError as error:
        sys.stderr.write(f"error: {error}\n")
        return NO_INPUT
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return WRITE if error.filename and str(folder) in str(error.filename) else NO_INPUT
    sys.stdout.write(f"{number} sequences of {settings.sequence_length} tokens in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
