"""The runs of a shared file system that wrote lately, and what their launch guards have written.

A host of AWS Batch exports the runs whose node 0 is on it: a container there writes a claim, a file in a folder of the
host that is named after the start in the record of node 0's guard. When the run starts on another host, that record has
another start, and the claim is void.

A run's folder is `runs/<workload>/<id>`. Its guard replaces `progress.prom` and `goodput.json` there every few seconds,
which changes the time of the folder itself: one look per run tells which runs have reported lately.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRESS, GOODPUT, WATCH, STALL = "progress.prom", "goodput.json", "watch", "stall.json"
"""Files and a folder of a run's folder (workloads/runtime: progress_metrics, goodput, progress_watch)."""

_SAMPLE = re.compile(r'^(trainforge_progress_[a-z0-9_]+)\{run="(?:[^"\\]|\\.)*"\} (\S+)$', re.MULTILINE)
_NODE = re.compile(r"node-[0-9]+\.json")
_CLAIM = re.compile(r"([0-9a-f]{16})\.json")
_MAX_BYTES = 8 << 20
"""The largest file that is read: a node's record has a few hundred bytes for each rank."""

MAX_LABEL = 256
"""Characters that a label may have; a name of a file has at most 255 bytes, a name of a host at most 253."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, and when the run last wrote, in seconds since 1970."""

    workload: str
    id: str
    path: Path
    written: float


class Reader:
    """Reads the runs below a folder, or those with a claim; `unreadable` counts what it cannot read or understand."""

    def __init__(self, runs: Path, claims: Path | None = None) -> None:
        self._runs = runs
        self._claims = claims
        self.unreadable = 0

    def alive(self, since: float) -> list[RunFolder]:
        """Return the runs that wrote since a time, the last to write first."""
        found = self._all(since) if self._claims is None else self._claimed(self._claims, since)
        # By name among those of one moment, so that a bound does not choose others at each scrape.
        return sorted(found, key=lambda run: (-run.written, run.workload, run.id))

    def _all(self, since: float) -> Iterator[RunFolder]:
        for workload in self._folders(self._runs):
            for run in self._folders(workload.path):
                written = self._written(run)
                if written is not None and written >= since:
                    yield RunFolder(workload.name, run.name, Path(run.path), written)

    def _claimed(self, claims: Path, since: float) -> Iterator[RunFolder]:
        """Yield the runs whose last start has a claim; whoever runs something may write claims."""
        try:
            with os.scandir(claims) as entries:
                starts = {
                    claim[1]: entry.path for entry in entries if (claim := _CLAIM.fullmatch(entry.name))
                }
        except FileNotFoundError:
            return
        except OSError:
            self.unreadable += 1
            return
        for start, path in starts.items():
            content = self._json(Path(path))
            if not content:
                continue
            names = (content.get("workload"), content.get("run"))
            if not all(map(_is_name, names)):
                self.unreadable += 1
                continue
            folder = self._runs.joinpath(*map(str, names))
            written = self._folder_written(folder)
            if written is None or written < since:
                continue
            if self._json(folder / WATCH / "node-0.json").get("start") == start:
                yield RunFolder(str(names[0]), str(names[1]), folder, written)

    def _folder_written(self, folder: Path) -> float | None:
        """Return when a run's folder last changed; None where it, or its workload's, has gone or is a link."""
        try:
            states = [os.lstat(path) for path in (folder.parent, folder)]
        except OSError:
            return None
        return states[1].st_mtime if all(stat.S_ISDIR(state.st_mode) for state in states) else None

    def progress(self, run: RunFolder) -> dict[str, float]:
        """Return the metrics of a run's lines of progress, by their names; none where it has printed none."""
        text = self._text(run.path / PROGRESS)
        found = {}
        for name, value in _SAMPLE.findall(text or ""):
            try:
                found[name] = float(value)
            except ValueError:
                self.unreadable += 1
        return found

    def goodput(self, run: RunFolder) -> dict[str, Any]:
        """Return a run's time by activity and its starts; nothing where its guard has written none."""
        found = self._json(run.path / GOODPUT)
        if not found:
            return {}
        seconds = found.get("seconds")
        timed = isinstance(seconds, dict) and all(map(is_number, (found.get("starts"), *seconds.values())))
        if timed and is_label(found.get("job", "")):
            return found
        self.unreadable += 1
        return {}

    def stalled(self, run: RunFolder) -> float | None:
        """Return when node 0's guard last ended a start of the run because of a stall; None where it has not."""
        try:
            return (run.path / WATCH / STALL).lstat().st_mtime
        except OSError:
            return None

    def nodes(self, run: RunFolder) -> Iterator[tuple[float, dict[str, Any]]]:
        """Yield the records of a run's nodes, each with the time when it was written."""
        try:
            with os.scandir(run.path / WATCH) as entries:
                files = sorted(
                    (entry.path, written)
                    for entry in entries
                    if _NODE.fullmatch(entry.name) and (written := self._written(entry)) is not None
                )
        except FileNotFoundError:
            return
        except OSError:
            self.unreadable += 1
            return
        for path, written in files:
            record = self._json(Path(path))
            ranks = record.get("ranks")
            listed = isinstance(ranks, list) and all(map(_is_rank, ranks))
            if listed and is_label(record.get("host")):
                yield written, record
            elif record:
                self.unreadable += 1

    def _folders(self, path: str | Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(path) as entries:
                found = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        except OSError:
            self.unreadable += 1
            return []
        # A name that is not UTF-8 cannot be written as a label, and would end the whole scrape.
        named = [entry for entry in found if is_label(entry.name)]
        self.unreadable += len(found) - len(named)
        return named

    def _written(self, entry: os.DirEntry[str]) -> float | None:
        """Return when a file or folder last changed; None where it has gone meanwhile."""
        try:
            return entry.stat(follow_symlinks=False).st_mtime
        except OSError:
            return None

    def _json(self, path: Path) -> dict[str, Any]:
        text = self._text(path)
        if text is None:
            return {}
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self.unreadable += 1
            return {}
        return found

    def _text(self, path: Path) -> str | None:
        """Return a file's text; None where there is no such file, or it cannot be read."""
        content = None
        with contextlib.suppress(OSError):
            try:
                # Whoever runs something owns its folder: a link out of it is not followed, and a pipe blocks nobody.
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            with open(descriptor, "rb") as file:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    content = file.read(_MAX_BYTES + 1)
        if content is None or len(content) > _MAX_BYTES:
            self.unreadable += 1
            return None
        return content.decode("utf-8", errors="replace")


def _is_name(value: object) -> bool:
    """Return whether a value is the name of a folder within another, and can be a label's."""
    return is_label(value) and value not in ("", ".", "..") and not {"/", "\0"} & set(str(value))


def is_number(value: object) -> bool:
    """Return whether a value of a JSON file is a finite number that a sample can have."""
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    )


def is_label(value: object) -> bool:
    """Return whether a value can be that of a label: a text of UTF-8 of at most `MAX_LABEL` characters."""
    if not isinstance(value, str) or len(value) > MAX_LABEL:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_rank(value: object) -> bool:
    """Return whether a value is a rank's part of a node's record; what is not known of a rank is null."""
    return isinstance(value, dict) and all(
        value.get(name) is None or is_number(value[name])
        for name in ("rank", "steps", "step_seconds", "work_seconds")
    )
