"""Picotron's checkpoints: a folder for each step, with a file of each tensor and pipeline parallel rank.

Picotron saves to `<save_dir>/<step>`, and loads the folder that `load_path` names, never the newest by itself. A rank
that is killed leaves a file that is not whole, and a folder in which files are missing: these are passed over.
"""

from __future__ import annotations

import zipfile
from pathlib import Path


def newest(folder: Path, *, tensor: int, pipeline: int) -> Path | None:
    """Return the folder of the newest step whose files are all whole, or None."""
    if not folder.is_dir():
        return None
    steps = sorted(
        (path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: -int(path.name)
    )
    return next((path for path in steps if is_whole(path, tensor=tensor, pipeline=pipeline)), None)


def is_whole(folder: Path, *, tensor: int, pipeline: int) -> bool:
    """Return whether a step has every rank's file, whole: torch writes an archive, whose directory comes last."""
    return all(
        zipfile.is_zipfile(folder / name)
        for name in (
            file_name(at, tensor, stage, pipeline) for at in range(tensor) for stage in range(pipeline)
        )
    )


def file_name(tensor_rank: int, tensor: int, stage: int, pipeline: int) -> str:
    """Return the name of a rank's file, as Picotron's `CheckpointManager` forms it."""
    return f"weights_tp_rank_world_size={tensor_rank}_{tensor}_pp_rank_world_size={stage}_{pipeline}.pth"
