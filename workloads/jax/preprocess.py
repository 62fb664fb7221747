"""The stage that writes the tokens of text into TOKENS_FOLDER: of files of C4, which it fetches, or of files here.

    preprocess.py --files=0-7 --tokenizer=meta-llama/Llama-2-7b-hf

A file of C4 is fetched when it is its turn and removed after it, so that the storage is that of one file and of the
tokens. New tokens take the place of older ones when they are whole. revisions.json has the commits.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import whole_folder
from jax_trainer import token_file
from training import corpus, errors, hub, tokenizer
from training.errors import NO_INPUT, WRITE, TrainingError, say

_BATCH = 1000
"""The documents that are given to the tokenizer at once: our choice."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="preprocess.py",
        description="Write the tokens of text into TOKENS_FOLDER.",
        allow_abbrev=False,
    )
    corpus.add_options(parser, "0-7")
    parser.add_argument(
        "--tokenizer",
        default="meta-llama/Llama-2-7b-hf",
        metavar="NAME[@COMMIT]|FILE",
        help="of the hub (default %(default)s), a file tokenizer.json, or 'bytes', which needs none",
    )
    return parser.parse_args(words)


def _documents(texts: Iterable[str], tokens: tokenizer.Tokens) -> Iterator[list[int]]:
    """Yield the tokens of each text."""
    left = iter(texts)
    while batch := list(islice(left, _BATCH)):
        yield from tokens.documents(batch)


def main() -> None:
    """Write the tokens: whole, or not at all."""
    chosen = options()
    if not os.environ.get("TOKENS_FOLDER"):
        raise TrainingError("the variable TOKENS_FOLDER is not set")
    folder = Path(os.environ["TOKENS_FOLDER"])
    text = "" if chosen.text else hub.commit(corpus.C4, chosen.revision, "dataset")
    of_tokenizer = tokenizer.commit(chosen.tokenizer)
    tokens = tokenizer.load(chosen.tokenizer, of_tokenizer)
    try:
        with whole_folder.replaced(folder) as new:
            new.mkdir()
            # In the new folder, which is removed when the stage fails, and before a next start of a killed one.
            fetched = new / "text"
            fetched.mkdir()
            files = chosen.text or corpus.c4(chosen.files, text, fetched)
            source = {"tokenizer": chosen.tokenizer, "text": chosen.text or list(chosen.files)}
            count = token_file.write(new, _documents(corpus.texts(files), tokens), tokens.size, source)
            if not count:
                raise TrainingError("the text has no document", NO_INPUT)
            for name, commit in ((corpus.C4, text), (hub.named(chosen.tokenizer)[0], of_tokenizer)):
                if commit:
                    hub.record(new, name, commit)
            shutil.rmtree(fetched)
    except whole_folder.InTheWayError as error:
        raise TrainingError(str(error), WRITE) from error
    except OSError as error:
        raise TrainingError(f"'{folder}' cannot be written: {error}", WRITE) from error
    say(f"done: {count} tokens in {folder}")


if __name__ == "__main__":
    errors.run(main)
