"""The stage that fetches files of the Pile and tokenizes them with GPT-2's vocabulary to TOKENS_FOLDER.

    pile.py --files=0-5

Each node takes its part of the files (NODE_RANK of NNODES). NeMo's own script tokenizes. The tokens of a file have a
folder, which takes the place of an older one when it is whole; its text is removed then. A start of the same run that
comes after a failure continues with the files that are not done.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nemo1_options
import whole_folder
from nemo1_launch.tokens import tokens_prefix
from training import errors, hub
from training.errors import FAULT, WRITE, TrainingError, say

REPOSITORY = "monology/pile-uncopyrighted"
"""The copy of the Pile without its copyrighted parts: a data set of the Hugging Face hub, 30 files of JSON lines."""

PREPROCESS = "/opt/NeMo/scripts/nlp_language_modeling/preprocess_data_for_megatron.py"
"""NeMo's script, in its image."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="pile.py", description="Fetch and tokenize files of the Pile.", allow_abbrev=False
    )
    parser.add_argument(
        "--files", type=nemo1_options.files, default="0-29", metavar="N-M", help="the files; default: all"
    )
    hub.add_revision(parser)
    return parser.parse_args(words)


def part(files: Sequence[int], node: int, nodes: int) -> Sequence[int]:
    """Return the files of a node."""
    return files[node::nodes]


def command(text: Path, prefix: Path, tokenizer: Path, workers: int) -> list[str]:
    """Return the command that tokenizes a file."""
    return [
        *(sys.executable, PREPROCESS, f"--input={text}", f"--output-prefix={prefix}"),
        *("--tokenizer-library=megatron", "--tokenizer-type=GPT2BPETokenizer", "--dataset-impl=mmap"),
        *(f"--vocab-file={tokenizer / 'vocab.json'}", f"--merge-file={tokenizer / 'merges.txt'}"),
        *("--append-eod", f"--workers={workers}"),
    ]


def _fetch(number: int, commit: str, folder: Path) -> Path:
    """Fetch a file of the Pile, and return its text."""
    import zstandard

    name = f"train/{number:02d}.jsonl.zst"
    hub.fetch(REPOSITORY, [name], commit, folder, "dataset")
    packed = folder / name
    text = folder / f"{number:02d}.jsonl"
    with packed.open("rb") as source, text.open("wb") as target:
        zstandard.ZstdDecompressor().copy_stream(source, target)
    packed.unlink()
    return text


def main() -> None:
    """Fetch and tokenize this node's files."""
    arguments = options()
    names = ("TOKENS_FOLDER", "TOKENIZER_FOLDER", "RUN_FOLDER")
    variables = {name: os.environ.get(name, "") for name in names}
    for name, value in variables.items():
        if not value:
            raise TrainingError(f"the variable {name} is not set")
    tokens, tokenizer = Path(variables["TOKENS_FOLDER"]), Path(variables["TOKENIZER_FOLDER"]) / "gpt2"
    node, nodes = (
        int(os.environ.get(name, default)) for name, default in (("NODE_RANK", "0"), ("NNODES", "1"))
    )
    done = Path(variables["RUN_FOLDER"]) / "tokenized"
    done.mkdir(parents=True, exist_ok=True)
    commit = hub.commit(REPOSITORY, arguments.revision, "dataset")
    for number in part(arguments.files, node, nodes):
        prefix = tokens_prefix(tokens, number)
        if (done / str(number)).exists() and whole_folder.is_kept(prefix.parent):
            say(f"file {number}: done by an earlier start of this run")
            continue
        try:
            with whole_folder.replaced(prefix.parent) as new:
                _tokenize(number, commit, new / prefix.name, tokenizer)
                hub.record(new, REPOSITORY, commit)
        except whole_folder.InTheWayError as error:
            raise TrainingError(str(error), WRITE) from error
        (done / str(number)).touch()
        say(f"file {number}: done")
    if all((done / str(number)).exists() for number in arguments.files):
        # Of all nodes: this stage makes all files anew when it is started again.
        shutil.rmtree(done, ignore_errors=True)


def _tokenize(number: int, commit: str, prefix: Path, tokenizer: Path) -> None:
    """Write the tokens of a file; its text is beside their folder, where a download continues after a failure."""
    unpacked = prefix.parent.with_name(f"{prefix.parent.name}.text")
    for folder in (prefix.parent, unpacked):
        folder.mkdir(exist_ok=True)
    words = command(_fetch(number, commit, unpacked), prefix, tokenizer, os.cpu_count() or 1)
    # The words are our own.
    code = subprocess.run(words, check=False).returncode  # noqa: S603
    if code:
        raise TrainingError(f"file {number}: NeMo's script ended with {code}", FAULT)
    shutil.rmtree(unpacked)


if __name__ == "__main__":
    errors.run(main)
