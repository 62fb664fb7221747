"""A folder that a stage replaces at once: at its name is the whole old result or the whole new one.

The name is a symbolic link. A stage writes `NAME.unfinished-RUN` beside it. When that is whole, it becomes
`NAME.made-DIGEST-NUMBER`, and one rename points the link there (rename(2): the old name or the new one, no state
between them). What was there before stays until the next replacement, with the link `NAME.previous`: a run that began
with it may still read it.

DIGEST is that of the stage's description (stage.py); a program that no stage has started leaves it out. A record of
each result goes to the folder that TRAINFORGE_STAGE_RESULTS names: so the stage knows later whether its result is still
at the name, or that of the same stage with other options. The standard library alone: this runs in every image.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

DIGEST = "TRAINFORGE_STAGE_DIGEST"
"""The variable with the digest of the stage's description."""

RESULTS = "TRAINFORGE_STAGE_RESULTS"
"""The variable with the folder of the records of a stage's results."""

_DIGITS = 16


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
    made = folder.with_name(f"{_made(folder)}{time.time_ns()}")
    unfinished.rename(made)
    _put(folder, made)
    _record(folder)


def is_kept(folder: Path) -> bool:
    """Return whether at the name is still the result of this stage, which an earlier start made, and record it.

    Raises:
        OSError: the record cannot be written.
    """
    if not _is_of(folder, os.environ.get(DIGEST, "")):
        return False
    _record(folder)
    return True


def recorded(records: Path) -> dict[str, str]:
    """Return the digests of the results that records tell of, by the paths of their names."""
    found: dict[str, str] = {}
    for path in sorted(records.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found[record["name"]] = record["digest"]
    return found


def _is_of(folder: Path, digest: str) -> bool:
    return folder.is_symlink() and os.readlink(folder).startswith(_made(folder, digest))


def are_there(results: Mapping[str, str]) -> bool:
    """Return whether all results of `recorded` are at their names, and none has been replaced by another stage's."""
    return all(_is_of(Path(name), digest) for name, digest in results.items())


def _made(folder: Path, digest: str | None = None) -> str:
    """Return how the name of a result begins, by default that of a result of this stage."""
    known = os.environ.get(DIGEST, "") if digest is None else digest
    return f"{folder.name}.made-{known}-" if known else f"{folder.name}.made-"


def _record(folder: Path) -> None:
    digest, records = os.environ.get(DIGEST), os.environ.get(RESULTS)
    if not digest or not records:
        return
    name = os.path.abspath(folder)
    known = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
    Path(records).mkdir(parents=True, exist_ok=True)
    unfinished = Path(records) / f"{known}.{os.getpid()}.writing"
    unfinished.write_text(json.dumps({"name": name, "digest": digest}), encoding="utf-8")
    os.replace(unfinished, Path(records) / f"{known}.json")


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
