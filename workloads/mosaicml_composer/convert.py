"""The stage that makes MDS shards of C4 in C4_FOLDER: documents as tokens, one after another, cut to one length.

Each document ends with the tokenizer's end of text, as llm-foundry's converter does it with `--eos_text`. `--text`
names files of JSON lines with a field `text`, which take the place of the data set on the Hugging Face hub. New shards
take the place of older ones when they are whole.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import whole_folder
from composer_options import SPLIT
from training import corpus, errors, hub
from training.arguments import positive
from training.errors import NO_INPUT, WRITE, TrainingError, say

_REPORT_EVERY = 10_000


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line."""

    dataset: str
    subset: str
    documents: int
    length: int
    tokenizer: str
    text: list[str]
    revision: str


def options(words: list[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="convert.py", description="Write documents as MDS shards into C4_FOLDER.", allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--dataset",
        default="allenai/c4",
        metavar="NAME[@COMMIT]",
        help="the data set on the Hugging Face hub (default allenai/c4)",
    )
    add("--subset", default="en", help="its subset (default en)")
    add("--documents", type=positive, default=100_000, metavar="N", help="how many (default 100000)")
    add("--length", type=positive, default=2048, metavar="N", help="tokens of a sample (default 2048)")
    add(
        "--tokenizer",
        default="EleutherAI/gpt-neox-20b",
        metavar="NAME[@COMMIT]|FOLDER",
        help="on the hub, or a folder",
    )
    add(
        "--text",
        nargs="+",
        default=[],
        metavar="FILE",
        help="JSON lines, gzipped or not, in place of the hub's",
    )
    hub.add_revision(parser)
    return Options(**vars(parser.parse_args(words)))


def _documents(chosen: Options, commit: str) -> Iterator[str]:
    """Yield the texts of documents.

    Raises:
        TrainingError: a file is not there.
    """
    if not chosen.text:
        stream = hub.documents(hub.named(chosen.dataset)[0], chosen.subset, "train", commit)
        yield from (document["text"] for document in stream)
    yield from corpus.texts(chosen.text)


def cut(documents: Iterable[list[int]], end: int, length: int) -> Iterator[list[int]]:
    """Yield samples of `length` tokens of documents, each followed by `end`; what is left at the end is dropped."""
    tokens: list[int] = []
    for document in documents:
        tokens += [*document, end]
        whole = len(tokens) - len(tokens) % length
        yield from (tokens[at : at + length] for at in range(0, whole, length))
        tokens = tokens[whole:]


def _tokens(chosen: Options, commit: str, tokenize: object) -> Iterator[list[int]]:
    """Yield the tokens of each document."""
    assert callable(tokenize)
    for number, text in enumerate(_documents(chosen, commit)):
        if number == chosen.documents:
            return
        if number and number % _REPORT_EVERY == 0:
            say(f"{number} documents")
        yield tokenize(text, add_special_tokens=False)["input_ids"]


def main() -> None:
    """Write the shards: whole, or not at all."""
    chosen = options()
    folder = os.environ.get("C4_FOLDER", "")
    if not folder:
        raise TrainingError("the variable C4_FOLDER is not set")
    import numpy as np
    from streaming import MDSWriter
    from transformers import AutoTokenizer

    name, revision = hub.named(chosen.tokenizer)
    of_tokenizer = "" if Path(name).exists() else hub.commit(name, revision)
    tokenizer = AutoTokenizer.from_pretrained(name, revision=of_tokenizer or "main")
    if tokenizer.eos_token_id is None:
        raise TrainingError(f"the tokenizer '{chosen.tokenizer}' has no end of text")
    dataset, revision = hub.named(chosen.dataset)
    commit = "" if chosen.text else hub.commit(dataset, chosen.revision or revision, "dataset")
    count = 0
    try:
        with whole_folder.replaced(Path(folder)) as new:
            with MDSWriter(out=str(new / SPLIT), columns={"tokens": "ndarray:int32"}) as writer:
                for sample in cut(_tokens(chosen, commit, tokenizer), tokenizer.eos_token_id, chosen.length):
                    writer.write({"tokens": np.array(sample, np.int32)})
                    count += 1
            for repository, fetched in ((dataset, commit), (name, of_tokenizer)):
                if fetched:
                    hub.record(new, repository, fetched)
            if not count:
                raise TrainingError(
                    f"the documents do not fill one sample of {chosen.length} tokens", NO_INPUT
                )
    except whole_folder.InTheWayError as error:
        raise TrainingError(str(error), WRITE) from error
    say(f"{count} samples of {chosen.length} tokens in {folder}")


if __name__ == "__main__":
    errors.run(main)
