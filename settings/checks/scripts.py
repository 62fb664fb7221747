"""Rules on a folder of lifecycle scripts: it is there, holds what every node is to run, and is small."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from settings.checks.rule import Problem, Subject, error
from settings.parser.values import shown

MOST_FILES = 1000
MOST_MIB = 50
"""Scripts are copied to every node at each start; data and programs belong elsewhere."""


@error("lifecycle-entry")
def _entry(subject: Subject) -> Iterator[Problem]:
    """The entry is a file of the folder (botocore: ClusterLifeCycleConfigFileName, 1 to 128 characters)."""
    scripts = subject.settings.hyperpod.lifecycle_scripts if subject.settings.hyperpod else None
    if scripts is None:
        return
    parts = PurePosixPath(scripts.entry).parts
    bad_parts = not parts or ".." in parts or PurePosixPath(scripts.entry).is_absolute()
    if bad_parts or len(scripts.entry) > 128 or not scripts.entry.isprintable():
        yield Problem(
            "hyperpod.lifecycle_scripts.entry",
            scripts.entry,
            f"'{shown(scripts.entry)}' is not the name of a script inside the folder",
        )


@error("lifecycle-directory", leans_on=("hyperpod.lifecycle_scripts",))
def _directory(subject: Subject) -> Iterator[Problem]:
    """Nodes that find no script to run fail to start, one after the other."""
    scripts = subject.settings.hyperpod.lifecycle_scripts if subject.settings.hyperpod else None
    if scripts is None:
        return
    path = "hyperpod.lifecycle_scripts.directory"
    where = shown(scripts.directory)
    if PurePosixPath(scripts.directory).is_absolute():
        message = f"'{where}' is an absolute path, which is there on one machine only"
        hint = "write it relative to the configuration file's folder"
        yield Problem(path, scripts.directory, message, hint)
        return
    if subject.folder is None:
        return
    try:
        directory = subject.folder / scripts.directory
        if not directory.is_dir():
            hint = "the path starts at the configuration file's folder"
            yield Problem(path, scripts.directory, f"there is no folder '{where}'", hint)
            return
        if not (directory / scripts.entry).is_file():
            yield Problem(
                "hyperpod.lifecycle_scripts.entry",
                scripts.entry,
                f"the folder '{where}' has no script '{shown(scripts.entry)}'",
                "name the script that every node runs",
            )
        files, size = _extent(directory)
    except (OSError, ValueError):
        yield Problem(
            path, scripts.directory, f"the folder '{where}' cannot be read", "check its permissions"
        )
        return
    if files > MOST_FILES or size > MOST_MIB << 20:
        yield Problem(
            path,
            scripts.directory,
            f"the folder '{where}' holds more than {MOST_FILES} files or {MOST_MIB} MiB, "
            "which is no folder of scripts",
            "keep data and programs on a shared file system",
        )


def _extent(directory: Path) -> tuple[int, int]:
    """Return the files of a folder and their bytes, counted until either is too much."""
    files = size = 0
    for root, _, names in os.walk(directory):
        for name in names:
            files += 1
            size += (Path(root) / name).lstat().st_size
            if files > MOST_FILES or size > MOST_MIB << 20:
                return files, size
    return files, size
