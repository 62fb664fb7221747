"""The tokens of a file of the Pile: a folder of TOKENS_FOLDER for each, so that one is replaced whole."""

from __future__ import annotations

from pathlib import Path

ENDING = "_text_document"
"""The end that NeMo's script gives the name of a text's tokens, before that of their files."""


def tokens_prefix(folder: str | Path, number: int) -> Path:
    """Return the path that NeMo's script takes as `--output-prefix`; the file's folder is its parent."""
    name = f"pile_{number:02d}"
    return Path(folder) / name / name


def tokens_file(folder: str | Path, number: int) -> str:
    """Return the path of a file's tokens without the ending, as NeMo's training takes it."""
    return f"{tokens_prefix(folder, number)}{ENDING}"
