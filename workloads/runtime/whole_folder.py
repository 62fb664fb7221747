"""A folder that a stage replaces at once: at its name is the whole old result or the whole new one.

The name is a symbolic link. A stage writes `NAME.unfinished-RUN` beside it. When that is whole, it becomes
`NAME.made-NUMBER`, and one rename points the link there (rename(2): the old name or the new one, no state between
them). What was there before stays until the next replacement, with the link `NAME.previous`: a run that began with it
may still read it. The standard library alone: this runs in every image.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InTheWayError(OSError):
    """At the name is something that no stage made."""


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yield the path, still free, of a folder that takes the place of another one when the block has ended well.

    What a killed start of the same run left there is removed before, and what a failed block wrote after it. Blocks of
    other runs do not disturb it: the last one that ends has the name. Paths that begin with the yielded one are for the
    block's own caches, and are left alone.

    Raises:
        InTheWayError: at the name is a file, or a folder that is neither empty nor a stage's.
        OSError: it cannot be written.
    """
    _refuse(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(
        f"{folder.name}.unfinished-{Path(os.environ.get('RUN_FOLDER', 'run')).name}"
    )
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        yield unfinished
        _write_back(unfinished)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    made = folder.with_name(f"{folder.name}.made-{time.time_ns()}")
    unfinished.rename(made)
    _put(folder, made)


def _refuse(folder: Path) -> None:
    if folder.is_symlink() or not folder.exists():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise InTheWayError(
            f"'{folder}' was not made by a stage, and is not removed: move it away and start the stage again, or train "
            "with it by '--stage train'"
        )


def _write_back(folder: Path) -> None:
    """Let the files outlast a node that fails now: who reads the link on another node relies on them."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _put(folder: Path, made: Path) -> None:
    """Point the link to what was made, and remove what was there before the last replacement."""
    before = os.readlink(folder) if folder.is_symlink() else ""
    if not before and folder.is_dir():
        folder.rmdir()
    _link(folder, made.name)
    if before:
        previous = folder.with_name(f"{folder.name}.previous")
        oldest = os.readlink(previous) if previous.is_symlink() else ""
        _link(previous, before)
        if oldest and oldest != before:
            shutil.rmtree(folder.with_name(oldest), ignore_errors=True)


def _link(link: Path, target: str) -> None:
    new = link.with_name(f"{target}.link")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    os.replace(new, link)
