"""The lock of a stage: of all jobs that need it one runs it, and that one says so by a heartbeat.

The lock is a file, so that it works on every shared file system. Its content changes with every heartbeat; whoever
waits looks at the content alone, for the clocks of nodes differ. A lock whose content stays equal for too long is that
of a job that was killed, and is taken over.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

_BEAT_DIGITS = 12


class StageLock:
    """The lock at a path, for the job that `owner` describes; `owner["run"]` is its run's folder."""

    def __init__(self, path: Path, owner: Mapping[str, str]) -> None:
        self.path = path
        self._owner = dict(owner)
        self._token = uuid.uuid4().hex
        self._file: int | None = None
        self._beats = 0

    def take(self) -> bool:
        """Take the lock; return whether it was free.

        Raises:
            OSError: it cannot be written.
        """
        try:
            self._file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        # Others look at it too, whatever this user's mask is.
        os.fchmod(self._file, 0o644)
        self.beat()
        return True

    def content(self) -> str:
        """Return what is in the file; empty where there is none, or it is just being written."""
        with contextlib.suppress(OSError):
            return self.path.read_text(encoding="utf-8")
        return ""

    def beat(self) -> None:
        """Leave a heartbeat.

        Raises:
            OSError: it cannot be written.
        """
        assert self._file is not None
        self._beats += 1
        beat = str(self._beats).zfill(_BEAT_DIGITS)
        text = json.dumps({**self._owner, "token": self._token, "beat": beat})
        # Into the file that was made, wherever another job has moved it.
        os.pwrite(self._file, text.encode(), 0)

    def is_lost(self) -> bool:
        """Return whether another job has taken the lock over."""
        other = owner_of(self.content()).get("token", self._token)
        return other != self._token

    def is_own_run(self, content: str) -> bool:
        """Return whether a lock is that of an earlier start of this very run."""
        return owner_of(content).get("run") == self._owner["run"]

    def take_away(self, content: str) -> None:
        """Remove a lock with a content; one that another job has taken meanwhile is given back.

        Raises:
            OSError: it cannot be removed.
        """
        aside = self.path.with_name(f"{self.path.name}.{self._token}")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        if aside.read_text(encoding="utf-8") != content:
            with contextlib.suppress(OSError):
                os.link(aside, self.path)
        aside.unlink()

    def release(self) -> None:
        """Remove the lock, unless another job has it."""
        if self._file is None:
            return
        os.close(self._file)
        self._file = None
        with contextlib.suppress(OSError):
            if not self.is_lost():
                self.path.unlink()


def owner_of(content: str) -> dict[str, str]:
    """Return who has a lock, by its content; empty where that is not whole."""
    with contextlib.suppress(ValueError):
        found: dict[str, str] = json.loads(content)
        return found
    return {}
