"""The relay of progress: rank 0 prints the lines that a rank of another node prints.

In a pipeline the last stage knows the loss, and with several copies of the model its first rank is on neither the first
nor the last node. The launch guard of rank 0's node reads progress, so that rank writes its lines to a file of the run,
and rank 0 repeats them.
"""

from __future__ import annotations

import io
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

_POLL_SECONDS = 0.5


class Tee(io.TextIOBase):
    """Standard output that writes each line of a step, which begins with a text, to a file too."""

    def __init__(self, output: TextIO, path: Path, begins: str) -> None:
        super().__init__()
        self._output = output
        self._begins = begins
        self._file = path.open("a", encoding="utf-8")
        self._line = ""

    def write(self, text: str) -> int:
        """Write a text."""
        self._output.write(text)
        *whole, self._line = (self._line + text).split("\n")
        for line in whole:
            if line.startswith(self._begins):
                self._file.write(f"{line}\n")
                self._file.flush()
        return len(text)

    def flush(self) -> None:
        """Flush the output."""
        self._output.flush()


class Follower:
    """A thread that prints what comes into the file after now; `close` prints the rest."""

    def __init__(self, path: Path, output: TextIO) -> None:
        self._path, self._output = path, output
        self._position = path.stat().st_size if path.exists() else 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Print what is left, and end."""
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            self._print()
        self._print()

    def _print(self) -> None:
        if not self._path.exists():
            return
        with self._path.open(encoding="utf-8") as file:
            file.seek(self._position)
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        self._position += len(whole.encode())
        if whole:
            self._output.write(whole)
            self._output.flush()


def relayed(rank: int, printing: int, ranks_per_node: int, folder: Path, begins: str) -> Follower | None:
    """Do this rank's part; return the follower of rank 0, where there is one to close.

    `printing` is the rank that prints the lines of steps, and `begins` what each of these begins with. Nothing is
    relayed where the printing rank is on rank 0's node.
    """
    if printing // ranks_per_node == 0:
        return None
    path = folder / "progress-lines.txt"
    if rank == printing:
        sys.stdout = Tee(sys.stdout, path, begins)
    return Follower(path, sys.stdout) if rank == 0 else None


def settle() -> None:
    """Wait until lines of another node have come over the shared file system."""
    time.sleep(2 * _POLL_SECONDS)
