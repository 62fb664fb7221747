"""The folder of a run's distributed checkpoints, as rank 0 keeps it: what is finished, sound, and old.

Only rank 0 looks and tidies: a folder shared over a network shows one machine's changes to itself in order.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from training.errors import say

MARKER = "finished.json"
DAMAGED = ".damaged"
_NAME = re.compile(r"step-(\d{9})")


def name(step: int) -> str:
    """Return the name of the folder of a step's checkpoint."""
    return f"step-{step:09d}"


class CheckpointFolder:
    """The checkpoints below `folder`; it need not be there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest(self, damaged: Collection[str] = ()) -> dict[str, Any]:
        """Return `step` and `about` of the newest sound checkpoint, step None without one, and `damaged` names.

        Those given as damaged are, however they look. What was never finished is removed: the run was killed while
        it wrote.
        """
        damaged = list(damaged)
        for path in self._folders():
            if path.name in damaged:
                continue
            if not (path / MARKER).exists():
                say(f"checkpoint '{path.name}' was never finished; it is removed", error=True)
                shutil.rmtree(path)
                continue
            about = _sound(path)
            if about is not None:
                return {"step": _step(path), "about": about, "damaged": damaged}
            damaged.append(path.name)
        return {"step": None, "about": None, "damaged": damaged}

    def finish(self, step: int, about: Mapping[str, Any]) -> None:
        """Write the marker of a checkpoint whose files are all on the disk; it appears whole or not at all."""
        path = self.folder / name(step)
        sizes = {entry.name: entry.stat().st_size for entry in sorted(path.iterdir())}
        text = json.dumps({"step": step, "files": sizes, "about": about}, indent=1)
        temporary = path / f".{MARKER}"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path / MARKER)
        _sync(path)
        _sync(self.folder)

    def prune(self, written: int, keep: int) -> None:
        """Remove all but the newest `keep`, and what a step before its present state left behind.

        A run that fell back writes steps again: a checkpoint of a later step than the one just written belongs to a
        past that did not happen.
        """
        past = [path for path in self._folders() if _step(path) < written]
        stay = {name(written), *(path.name for path in past[: keep - 1])}
        for path in self._folders():
            if path.name not in stay:
                self.remove(path.name)

    def remove(self, folder: str) -> None:
        """Remove a checkpoint, its marker first: a removal that is cut short leaves nothing that looks sound."""
        path = self.folder / folder
        (path / MARKER).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)

    def set_aside(self, folder: str) -> None:
        """Give a damaged checkpoint a name that is none of a checkpoint's, in place of an older one of that name."""
        aside = self.folder / f"{folder}{DAMAGED}"
        shutil.rmtree(aside, ignore_errors=True)
        (self.folder / folder).rename(aside)

    def _folders(self) -> list[Path]:
        """Return the checkpoints' folders, finished or not, the newest step first."""
        if not self.folder.is_dir():
            return []
        known = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
        return sorted(known, key=_step, reverse=True)


def _sound(path: Path) -> dict[str, Any] | None:
    """Return what a checkpoint tells of its run, or None where a file is gone or has another size."""
    try:
        marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
        sizes = {entry.name: entry.stat().st_size for entry in path.iterdir()}
        whole = all(sizes.get(file) == size for file, size in marker["files"].items())
        about: dict[str, Any] = marker["about"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return about if whole else None


def _step(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1])


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
