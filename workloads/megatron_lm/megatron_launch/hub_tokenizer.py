"""A tokenizer of the Hugging Face hub in arguments, NAME or NAME@COMMIT: it becomes the folder of its files.

Megatron-LM has no option for a commit. The folder is one of the hub's cache.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from training import hub


def with_tokenizer(words: Sequence[str]) -> tuple[list[str], tuple[str, str]]:
    """Return words with the folder of their tokenizer, fetched at one commit, and its name with the commit.

    Both are empty where the tokenizer is not of the hub.

    Raises:
        TrainingError: it cannot be fetched.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--tokenizer-type", default="")
    parser.add_argument("--tokenizer-model", default="")
    given = parser.parse_known_args(words)[0]
    name = given.tokenizer_model
    if given.tokenizer_type != "HuggingFaceTokenizer" or not name or Path(name).exists():
        return [*words], ("", "")
    repository, revision = hub.named(name)
    commit = hub.commit(repository, revision)
    # What transformers reads of a tokenizer.
    folder = hub.snapshot(repository, commit, ["*.json", "tokenizer.model"])
    return [*words, f"--tokenizer-model={folder}"], (repository, commit)
