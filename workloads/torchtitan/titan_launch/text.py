"""torchtitan's c4 at one commit: `--training.dataset_path=allenai/c4@COMMIT`. torchtitan's own loader has no commit."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torchtitan.hf_datasets.text_datasets import DATASETS
from training import hub


def _open(name: str, split: str, folder: Path) -> Any:
    """Open a split of c4's English part, and record the commit in the run's folder."""
    repository, revision = hub.named(name)
    commit = hub.commit(repository, revision or hub.recorded(folder).get(repository, ""), "dataset")
    if os.environ.get("RANK", "0") == "0":
        hub.record(folder, repository, commit)
    return hub.documents(repository, "en", split, commit)


def at_commits(folder: Path) -> None:
    """Let torchtitan read c4 at the commit of its path, else at that of the run's record, else at the newest."""
    for name, split in (("c4", "train"), ("c4_validation", "validation")):
        DATASETS[name] = replace(DATASETS[name], loader=partial(_open, split=split, folder=folder))
