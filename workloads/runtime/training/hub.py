"""Revisions of repositories on the Hugging Face hub: the option, the commit that it names, and its record."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from training.errors import NO_INPUT, TrainingError

RECORD = "revisions.json"
"""The file beside what was fetched, with the commit of each repository."""


def add_revision(parser: argparse.ArgumentParser) -> None:
    """Add the option `--revision`. Nobody has compared commits of these repositories: the default is the newest."""
    parser.add_argument(
        "--revision",
        default="",
        metavar="COMMIT",
        help="commit, branch or tag on the hub; default: the newest",
    )


def commit(repository: str, revision: str, kind: str = "model") -> str:
    """Return the commit that a revision of a repository is now; an empty one is the newest. `kind` is `repo_type`.

    Raises:
        TrainingError: the hub does not answer, or the repository or its revision is not there.
    """
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


def fetch(repository: str, files: Sequence[str], fetched: str, folder: Path) -> None:
    """Fetch files of a model's repository at a commit, and record it.

    Raises:
        TrainingError: a file cannot be fetched.
    """
    from huggingface_hub import hf_hub_download

    for file in files:
        try:
            hf_hub_download(repository, file, revision=fetched, local_dir=folder)
        # The hub's errors are many, and most are of requests or OSError.
        except Exception as error:
            raise TrainingError(f"'{file}' of '{repository}' cannot be fetched: {error}", NO_INPUT) from error
    record(folder, repository, fetched)


def record(folder: Path, repository: str, fetched: str) -> None:
    """Write the commit that was fetched beside the files; those of other repositories stay."""
    file = folder / RECORD
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    written = file.with_name(f".{file.name}.{os.getpid()}")
    written.write_text(json.dumps({**known, repository: fetched}, indent=2) + "\n", encoding="utf-8")
    os.replace(written, file)
