"""The stage that fetches a model's tokenizer from the Hugging Face hub to TOKENIZER_FOLDER.

    fetch_tokenizer.py --model=llama2-7b

GPT-3 is trained on GPT-2's tokens, which anybody may fetch. Llama 2's tokenizer is gated: HF_TOKEN, which a secret
sets, must belong to an account that has accepted its licence. What is there already is not fetched again.
revisions.json has the commit.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import nemo1_options
from training import errors, hub
from training.errors import TrainingError, say

GPT2 = (
    "gpt2",
    "openai-community/gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e",
    ("vocab.json", "merges.txt"),
)
LLAMA2 = ("llama2", "meta-llama/Llama-2-7b-hf@01c7f73d771dfac7d292323805ebc428287df4f9", ("tokenizer.model",))
"""The folder of a tokenizer, its repository of the hub at the catalog's commit, and its files."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="fetch_tokenizer.py", description="Fetch the tokenizer of a model.", allow_abbrev=False
    )
    models = nemo1_options.recorded()["files"]
    parser.add_argument("--model", required=True, choices=models, help="the model")
    hub.add_revision(parser)
    return parser.parse_args(words)


def main() -> None:
    """Fetch the files."""
    arguments = options()
    folder = os.environ.get("TOKENIZER_FOLDER", "")
    if not folder:
        raise TrainingError("the variable TOKENIZER_FOLDER is not set")
    name, text, files = LLAMA2 if arguments.model.startswith("llama2") else GPT2
    repository, known = hub.named(text)
    commit = hub.commit(repository, arguments.revision or known)
    hub.fetch(repository, files, commit, Path(folder) / name)
    say(f"done: {', '.join(files)} of {repository} at {commit}")


if __name__ == "__main__":
    errors.run(main)
