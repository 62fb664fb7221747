"""The stage that pre-training on text needs: the tokens of files of C4, or of files here, in NEMO_TOKENS.

    make_tokens.py --files=0-31 --tokenizer=meta-llama/Llama-3.1-8B

Tokens are in Megatron-Core's format (`.bin`, `.idx`), written by Megatron-Core's own builder; the tokenizer's files are
beside them, and revisions.json has the commits. NeMo's script for it, preprocess_data_for_megatron.py, is not in NeMo
2.7 any more (NVIDIA-NeMo/NeMo, pull request 14192). Tokens take the place of older ones when they are whole.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import whole_folder
from nemo_options import TOKENIZER, TOKENS, TOKENS_FOLDER
from training import corpus, errors, hub
from training.errors import NO_INPUT, WRITE, TrainingError, say
from training.tokenizer import Tokenizer

FILES = ("tokenizer.json", "tokenizer_config.json")
"""The files of a tokenizer on the hub that transformers reads."""

_BATCH = 1000
"""The documents that are given to the tokenizer at once: our choice."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="make_tokens.py", description="Write the tokens of text into NEMO_TOKENS.", allow_abbrev=False
    )
    corpus.add_options(parser, "0-31")
    parser.add_argument(
        "--tokenizer",
        default="meta-llama/Llama-3.1-8B",
        metavar="NAME[@COMMIT]|FOLDER",
        help="of the hub (default %(default)s), or a folder with its files",
    )
    return parser.parse_args(words)


def _tokenizer(name: str, folder: Path) -> None:
    """Put the files of a tokenizer into a folder.

    Raises:
        TrainingError: they cannot be fetched.
    """
    if Path(name).is_dir():
        folder.mkdir()
        for file in FILES:
            if (Path(name) / file).exists():
                shutil.copy(Path(name) / file, folder)
        return
    repository, revision = hub.named(name)
    hub.fetch(repository, FILES, hub.commit(repository, revision), folder)


def _write(texts: Iterable[str], tokenizer: Tokenizer, prefix: Path) -> int:
    """Write the tokens of texts, each a document, and return their number."""
    indexed: Any = importlib.import_module("megatron.core.datasets.indexed_dataset")
    kind = indexed.DType.optimal_dtype(tokenizer.size)
    builder = indexed.IndexedDatasetBuilder(f"{prefix}.bin", dtype=kind)
    left, count = iter(texts), 0
    while batch := list(islice(left, _BATCH)):
        for document in tokenizer.documents(batch):
            builder.add_document(document, [len(document)])
            count += len(document)
    builder.finalize(f"{prefix}.idx")
    return count


def main() -> None:
    """Write the tokens: whole, or not at all."""
    chosen = options()
    if not os.environ.get(TOKENS_FOLDER):
        raise TrainingError(f"the variable {TOKENS_FOLDER} is not set")
    folder = Path(os.environ[TOKENS_FOLDER])
    commit = "" if chosen.text else hub.commit(corpus.C4, chosen.revision, "dataset")
    try:
        with whole_folder.replaced(folder) as new:
            new.mkdir()
            _tokenizer(chosen.tokenizer, new / TOKENIZER)
            tokenizer = Tokenizer(str(new / TOKENIZER / FILES[0]))
            # In the new folder, which is removed when the stage fails, and before a next start of a killed one.
            fetched = new / "text"
            fetched.mkdir()
            files = chosen.text or corpus.c4(chosen.files, commit, fetched)
            count = _write(corpus.texts(files), tokenizer, new / TOKENS)
            if not count:
                raise TrainingError("the text has no document", NO_INPUT)
            if commit:
                hub.record(new, corpus.C4, commit)
            shutil.rmtree(fetched)
    except whole_folder.InTheWayError as error:
        raise TrainingError(str(error), WRITE) from error
    except OSError as error:
        raise TrainingError(f"'{folder}' cannot be written: {error}", WRITE) from error
    say(f"done: {count} tokens in {folder}")


if __name__ == "__main__":
    errors.run(main)
