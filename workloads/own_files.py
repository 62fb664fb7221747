"""The files of a workload's own folder: those that are shipped, and findings on those that cannot be."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

MAX_MIB = 64
"""The maximum size of a folder in MiB: our choice. Data belongs on the shared file system, not beside the code."""

MAX_FILES = 5000
"""The maximum number of files in a folder: our choice."""

_LISTED = 3
"""The maximum number of files in a message."""

_LEFT_OUT = frozenset({"__pycache__", "node_modules"})
_SPECIAL = '"$`\\'
"""Characters that scripts would expand in a path, which is written in double quotes."""


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file that is shipped: its path below the folder, its content's path, its size and its mode."""

    path: PurePosixPath
    source: Path
    size: int
    mode: int


@dataclass(slots=True)
class OwnFiles:
    """The files of a folder, sorted, and what is wrong with them: pairs of a message and what to do."""

    files: list[OwnFile] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def own_files(folder: Path, name: str) -> OwnFiles:
    """Return what is shipped of the folder of a workload of that name.

    Hidden files are left out, which secrets and version control are in, and so are what Python and its virtual
    environments leave, and runs of the workload on this machine.
    """
    found = OwnFiles()
    _read(folder.resolve(), PurePosixPath(), found, runs=PurePosixPath("runs") / name)
    found.files.sort(key=lambda file: file.path.as_posix())
    found.problems += _too_much(found.files)
    return found


def path_problem(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the path of a folder whose code runs where it is."""
    path = str(folder)
    if any(character in _SPECIAL or not character.isprintable() for character in path):
        hint = f"rename it: scripts hold its path, so it can have no control character and none of {_SPECIAL}"
        yield f"the path {path!r} cannot be written into a script", hint


def _read(root: Path, below: PurePosixPath, found: OwnFiles, *, runs: PurePosixPath) -> None:
    for entry in sorted(os.scandir(root / below), key=lambda one: one.name):
        path = below / entry.name
        if (
            entry.name.startswith(".")
            or entry.name in _LEFT_OUT
            or entry.name.endswith(".pyc")
            or path == runs
        ):
            continue
        if bad := _bad_name(entry.name):
            found.problems.append((f"the file name {str(path)!r} {bad}", "rename it"))
        elif entry.is_symlink():
            _add_link(root, path, found)
        elif entry.is_dir():
            if not (root / path / "pyvenv.cfg").exists():
                _read(root, path, found, runs=runs)
        elif entry.is_file():
            _add(root / path, path, found)
        else:
            found.problems.append((f"'{path}' is neither a file nor a folder", "move it out of the folder"))


def _bad_name(name: str) -> str:
    """Return why a name cannot be that of an object of a bucket and of a file on every node; empty where it can."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "is not UTF-8"
    if not name.isprintable() or "\\" in name:
        return "has a control character or a backslash"
    return ""


def _add_link(root: Path, path: PurePosixPath, found: OwnFiles) -> None:
    target = (root / path).resolve()
    if not target.is_relative_to(root):
        message = f"the link '{path}' leads out of the folder, to '{target}', which nodes do not have"
        found.problems.append((message, "put a copy in its place, or remove it"))
    elif not target.is_file():
        kind = "to a folder" if target.is_dir() else "to nothing"
        found.problems.append((f"the link '{path}' leads {kind}", "put a copy in its place, or remove it"))
    else:
        _add(target, path, found)


def _add(source: Path, path: PurePosixPath, found: OwnFiles) -> None:
    if not os.access(source, os.R_OK):
        found.problems.append(
            (f"'{path}' cannot be read", "let your user read it, or move it out of the folder")
        )
        return
    facts = source.stat()
    mode = 0o755 if facts.st_mode & stat.S_IXUSR else 0o644
    found.files.append(OwnFile(path, source, facts.st_size, mode))


def _too_much(files: list[OwnFile]) -> Iterator[tuple[str, str]]:
    size = sum(file.size for file in files)
    if size > MAX_MIB << 20:
        largest = sorted(files, key=lambda file: -file.size)[:_LISTED]
        listed = ", ".join(f"{file.path} ({file.size / (1 << 20):.1f} MiB)" for file in largest)
        yield (
            f"the folder has {size / (1 << 20):.0f} MiB, and {MAX_MIB} MiB at most are shipped; the largest: {listed}",
            "keep data and weights on the shared file system, and not beside the code",
        )
    if len(files) > MAX_FILES:
        yield (
            f"the folder has {len(files):,} files, and {MAX_FILES:,} at most are shipped",
            "keep data on the shared file system, and not beside the code",
        )
