"""The folder of Composer's checkpoints after a run that was killed: what autoresume needs, and nothing half written.

Composer writes a checkpoint under its last name, and moves its link `latest-...` by removing it first. A rank that is
killed in between leaves a broken checkpoint, which Composer then refuses to overwrite, or no link, by which it would
begin again. `repair` runs before the trainer is made.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import zipfile
from pathlib import Path

_NAME = re.compile(r"ep\d+-ba(?P<step>\d+)(?P<one_file>-rank0\.pt)?")


def repair(folder: Path, keep: int) -> None:
    """Remove broken checkpoints and all but the newest `keep`, and let the link name the newest; for rank 0 alone."""
    if not folder.is_dir():
        return
    found = [(int(match["step"]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    whole = [path for _, path in sorted(found, reverse=True) if _is_whole(path)]
    for _, path in found:
        if path not in whole[:keep]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for link in folder.glob("latest-*"):
        link.unlink()
    if whole:
        # Of shards of a checkpoint llm-foundry's link has another name.
        name = "latest-sharded-rank0" if whole[0].is_dir() else "latest-rank0.pt"
        os.symlink(whole[0].name, folder / name)


def _is_whole(path: Path) -> bool:
    """Return whether a checkpoint was written to its end: a zip has its table there, a folder its metadata."""
    return (path / ".metadata").is_file() if path.is_dir() else zipfile.is_zipfile(path)


def name_signal_files_by_node() -> None:
    """Give each node's ranks a signal file of their own.

    Composer gives all nodes one name, creates the file on each and removes it on each: in a folder that nodes share,
    the second removal fails (trainer.py, _get_autoresume_checkpoint).
    """
    from composer.utils import dist

    of_all_nodes = dist.get_node_signal_file_name

    def of_this_node(rng: random.Random | None = None) -> str:
        return f"{of_all_nodes(rng)}-{dist.get_node_rank()}"

    dist.get_node_signal_file_name = of_this_node
