"""Folders of assets in arguments: `{TOKENS_FOLDER}/gpt3_text_document` is a file of the folder in that variable."""

from __future__ import annotations

import os
from collections.abc import Iterable

ASSETS = ("CORPUS_FOLDER", "TOKENS_FOLDER")
"""The variables with the folders of the workload's assets."""


def with_folders(words: Iterable[str]) -> list[str]:
    """Return words with the folders in their place."""
    replaced = list(words)
    for name in ASSETS:
        replaced = [word.replace(f"{{{name}}}", os.environ.get(name, "")) for word in replaced]
    return replaced
