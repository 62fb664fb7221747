"""The folder of one start of a job, in which its nodes leave messages for each other: a file per node and message."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

HERE, START, HEARTBEAT, ENDED = "here", "start", "heartbeat", "ended"
"""Messages of the supervisors: the node is there; all are, from node 0; a number that grows; the exit code."""

READY, COMMAND = "ready", "command"
"""Messages of the MPI rendezvous: the node waits for mpirun's daemon; the command that starts the daemon."""

RENDEZVOUS_SECONDS = 1800
"""Seconds for which nodes wait for each other: our choice. A node may still be starting or pulling its image."""

RENDEZVOUS_VARIABLE = "TRAINFORGE_RENDEZVOUS_SECONDS"
"""The variable that changes it."""

_LOOK_SECONDS = 0.5


class NodesFolder:
    """The folder at a path that all nodes of the job share. Only its owner may enter: commands are run from it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make the folder, if no other node has made it.

        Raises:
            OSError: it cannot be made.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def tell(self, node: int, message: str, text: str = "") -> None:
        """Leave a message of, or for, a node: no reader sees a part of it.

        Raises:
            OSError: it cannot be written.
        """
        path = self._file(node, message)
        unfinished = path.with_name(f"{path.name}.writing")
        unfinished.touch(mode=0o600)
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)

    def beat(self, node: int, number: int) -> None:
        """Leave a heartbeat of a node, in place: a reader who finds it empty has seen that it changed.

        Raises:
            OSError: it cannot be written.
        """
        self._file(node, HEARTBEAT).write_text(str(number), encoding="utf-8")

    def read(self, node: int, message: str) -> str | None:
        """Return a message, or None where there is none."""
        with contextlib.suppress(OSError):
            return self._file(node, message).read_text(encoding="utf-8")
        return None

    def wait(
        self, node: int, message: str, deadline: float, given_up: Callable[[], bool] = lambda: False
    ) -> str | None:
        """Wait for a message until the deadline of the monotonic clock, or until it is given up; None without one."""
        while (text := self.read(node, message)) is None:
            if given_up() or time.monotonic() > deadline:
                return None
            time.sleep(_LOOK_SECONDS)
        return text

    def _file(self, node: int, message: str) -> Path:
        return self.path / f"node-{node}.{message}"
