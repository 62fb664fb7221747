"""The stage that fetches Llama 3.1's tokenizer from the Hugging Face hub to TOKENIZER_FOLDER, for training on c4.

The tokenizer is gated: HF_TOKEN, which a secret sets, must belong to an account that has accepted its licence. What is
there already is not fetched again. revisions.json has the commit.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from training import errors, hub
from training.errors import TrainingError, say

REPOSITORY = "meta-llama/Llama-3.1-8B"
"""The repository whose tokenizer all sizes of Llama 3.1 have."""

FILES = ("tokenizer.json", "tokenizer_config.json")
"""The files that torchtitan reads of a tokenizer (torchtitan/components/tokenizer.py)."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="fetch_tokenizer.py", description="Fetch the tokenizer of Llama 3.1.", allow_abbrev=False
    )
    hub.add_revision(parser)
    return parser.parse_args(words)


def main() -> None:
    """Fetch the files."""
    arguments = options()
    folder = os.environ.get("TOKENIZER_FOLDER", "")
    if not folder:
        raise TrainingError("the variable TOKENIZER_FOLDER is not set")
    commit = hub.commit(REPOSITORY, arguments.revision)
    hub.fetch(REPOSITORY, FILES, commit, Path(folder))
    say(f"done: {', '.join(FILES)} of {REPOSITORY} at {commit}")


if __name__ == "__main__":
    errors.run(main)
