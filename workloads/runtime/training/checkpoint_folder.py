"""The folder of a run's distributed checkpoints, which rank 0 manages: finished, damaged and old ones.

Only rank 0 looks and tidies: a folder shared over a network shows one machine's changes to itself in order. Contents
are more than one rank can read: each computes the digests of its share.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from training.errors import say

MARKER = "finished.json"
DAMAGED = ".damaged"
_NAME = re.compile(r"step-(\d{9})")
_WRITER = re.compile(r"__(\d+)_")
_CHUNK_BYTES = 1 << 22

Files = dict[str, dict[str, Any]]
"""Of each file of a checkpoint its `size` in bytes and the `sha256` of its content, in hexadecimal."""


def name(step: int) -> str:
    """Return the name of the folder of a step's checkpoint."""
    return f"step-{step:09d}"


def share(names: Iterable[str], rank: int, count: int) -> list[str]:
    """Return the files of a checkpoint that a rank checks: its own, where it was one of those that wrote.

    torch.distributed.checkpoint names a rank's files `__<rank>_<number>.distcp`; the index is rank 0's.
    """
    writers = {each: _WRITER.match(each) for each in names}
    return [each for each, found in writers.items() if (int(found[1]) if found else 0) % count == rank]


def contents(path: Path, names: Iterable[str]) -> Files:
    """Return size and digest of files of a checkpoint's folder, read from the disk's side of the page cache.

    Raises:
        OSError: one cannot be read.
    """
    return {each: _content(path / each) for each in names}


class CheckpointFolder:
    """The checkpoints below `folder`; it need not be there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest(self, damaged: Collection[str] = ()) -> dict[str, Any]:
        """Return `step`, `about` and `files` of the newest checkpoint that looks sound, and `damaged` names.

        `step` is None without one. Those given as damaged are, however they look; digests are not looked at. What was
        never finished is removed: the run was killed while it wrote.
        """
        damaged = list(damaged)
        for path in self._folders():
            if path.name in damaged:
                continue
            if not (path / MARKER).exists():
                say(f"checkpoint '{path.name}' was never finished; it is removed", error=True)
                shutil.rmtree(path)
                continue
            marker = _marker(path)
            if marker is not None:
                return {
                    "step": _step(path),
                    "about": marker["about"],
                    "files": marker["files"],
                    "damaged": damaged,
                }
            damaged.append(path.name)
        return {"step": None, "about": None, "files": {}, "damaged": damaged}

    def finish(self, step: int, about: Mapping[str, Any], files: Files) -> None:
        """Write the marker of a checkpoint whose files are all on the disk; it appears whole or not at all.

        Raises:
            OSError: it cannot be written, or the folder holds other files than those told of.
        """
        path = self.folder / name(step)
        there = {entry.name for entry in path.iterdir()}
        if there != set(files):
            raise OSError(f"'{path}' holds {sorted(there)}, and its ranks wrote {sorted(files)}")
        text = json.dumps({"step": step, "files": files, "about": about}, indent=1)
        temporary = path / f".{MARKER}"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path / MARKER)
        sync(path)
        sync(self.folder)

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


def _content(path: Path) -> dict[str, Any]:
    # hashlib.file_digest does this from Python 3.11 on; images may have an older one.
    digest, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            size += count
    return {"size": size, "sha256": digest.hexdigest()}


def _marker(path: Path) -> dict[str, Any] | None:
    """Return what a checkpoint's marker says, or None where it says nothing, or a file is gone or of another size."""
    try:
        marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
        sizes = {entry.name: entry.stat().st_size for entry in path.iterdir()}
        files = {each: (file["size"], file["sha256"]) for each, file in marker["files"].items()}
        whole = bool(files) and all(sizes.get(each) == size for each, (size, _) in files.items())
        found = {"about": marker["about"], "files": marker["files"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if whole else None


def _step(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1])


def sync(folder: Path) -> None:
    """Write a folder's own entries to its disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
