"""Repositories on the Hugging Face hub, each read at one commit: its name, the commit, what is fetched, the record.

Everything that a workload reads from the hub goes through here: without a commit the hub gives what is newest at that
moment, and nobody can tell later what it was.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.errors import NO_INPUT, TrainingError, say

RECORD = "revisions.json"
"""The file beside what was fetched, with the commit of each repository."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


def named(text: str) -> tuple[str, str]:
    """Return the repository and the revision of NAME@REVISION; without one the revision is empty."""
    repository, _, revision = text.partition("@")
    return repository, revision


def add_revision(parser: argparse.ArgumentParser) -> None:
    """Add the option `--revision`. A stage has it where a commit is known; the default of the program is the newest."""
    parser.add_argument(
        "--revision",
        default="",
        metavar="COMMIT",
        help="commit, branch or tag on the hub; default: the newest",
    )


def commit(repository: str, revision: str, kind: str = "model") -> str:
    """Return the commit that a revision of a repository is now; an empty one is the newest. `kind` is `repo_type`.

    A whole commit is not asked for: many ranks may call this.

    Raises:
        TrainingError: the hub does not answer, or the repository or its revision is not there.
    """
    if _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi

    try:
        found = HfApi().repo_info(repository, revision=revision or None, repo_type=kind).sha
    # The hub's errors are many, and most are of requests or OSError.
    except Exception as error:
        named = f"the revision '{revision}'" if revision else "the newest commit"
        raise TrainingError(f"{named} of '{repository}' cannot be had: {error}", NO_INPUT) from error
    if not found:
        raise TrainingError(f"the hub names no commit of '{repository}'", NO_INPUT)
    return str(found)


def fetch(repository: str, files: Sequence[str], fetched: str, folder: Path, kind: str = "model") -> None:
    """Fetch files of a repository at a commit, and record it.

    Raises:
        TrainingError: a file cannot be fetched.
    """
    from huggingface_hub import hf_hub_download

    for file in files:
        try:
            hf_hub_download(repository, file, revision=fetched, repo_type=kind, local_dir=folder)
        # The hub's errors are many, and most are of requests or OSError.
        except Exception as error:
            raise TrainingError(f"'{file}' of '{repository}' cannot be fetched: {error}", NO_INPUT) from error
    record(folder, repository, fetched)


def snapshot(
    repository: str, fetched: str, patterns: Sequence[str], folder: Path | None = None, kind: str = "model"
) -> Path:
    """Fetch the files of a repository at a commit that patterns match, and return their folder.

    Without a folder of its own it is one of the hub's cache.

    Raises:
        TrainingError: they cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            repository, revision=fetched, repo_type=kind, local_dir=folder, allow_patterns=[*patterns]
        )
    # The hub's errors are many, and most are of requests or OSError.
    except Exception as error:
        raise TrainingError(f"'{repository}' cannot be fetched: {error}", NO_INPUT) from error
    return Path(found)


def documents(repository: str, subset: str, split: str, fetched: str) -> Any:
    """Open a data set for reading while it is fetched, at a commit; a folder here may take the place of a repository.

    Raises:
        Exception: whatever the package `datasets` raises.
    """
    from datasets import load_dataset

    return load_dataset(repository, subset or None, split=split, streaming=True, revision=fetched or None)


def recorded(folder: Path) -> dict[str, str]:
    """Return the commits that the record of a folder has, by repository."""
    file = folder / RECORD
    known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return known


def record(folder: Path, repository: str, fetched: str) -> None:
    """Write the commit that was fetched beside the files, and say it; those of other repositories stay."""
    known = recorded(folder)
    if known.get(repository) == fetched:
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / RECORD
    written = file.with_name(f".{file.name}.{os.getpid()}")
    written.write_text(json.dumps({**known, repository: fetched}, indent=2) + "\n", encoding="utf-8")
    os.replace(written, file)
    say(f"{repository} at {fetched}")
