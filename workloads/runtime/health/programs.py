"""Programs that probes run: each with a timeout that holds even for a process that a driver keeps uninterruptible."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

_LEAVE_SECONDS = 2.0
"""Seconds for a killed program to end: our choice. One that waits in a driver does not, and is left behind."""

_MAX_BYTES = 8 << 20
"""Bytes of output that are read: the longest, of `nvidia-smi -q` or a kernel log, are far below."""


@dataclass(frozen=True)
class Ran:
    """A program that was run: its words, exit code, output, and how long it took in seconds.

    `code` is None where it did not end in time.
    """

    words: tuple[str, ...]
    code: int | None
    output: str
    error: str
    seconds: float

    @property
    def timed_out(self) -> bool:
        """True if it did not end in time."""
        return self.code is None

    @property
    def command(self) -> str:
        """The command line, as reports show it."""
        return " ".join(self.words)

    @property
    def said(self) -> str:
        """Its last line, errors first, for a message."""
        lines = (self.error.strip() or self.output.strip()).splitlines()
        return lines[-1].strip() if lines else ""

    @property
    def end(self) -> str:
        """The way it ended, for a message."""
        if self.code is None:
            return f"no answer within {self.seconds:.0f} s"
        return f"ended with {self.code}{f': {self.said}' if self.said else ''}"


def find(name: str, environment: Mapping[str, str], folders: Sequence[str] = ()) -> str | None:
    """Return the path of a program on PATH, or in other folders where the EFA or Neuron installer puts it."""
    # Slurm starts prologs without a search path.
    path = environment.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return shutil.which(name, path=os.pathsep.join([path, *folders]))


def run(words: Sequence[str], seconds: float, environment: Mapping[str, str]) -> Ran:
    """Run a program; one that cannot start has exit code 127.

    Output goes to files: to read a pipe of a process that hangs in a driver would wait for it.
    """
    started = time.monotonic()
    with _file() as out, _file() as err:
        try:
            process = subprocess.Popen(  # noqa: S603 -- programs that probes name
                list(words),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            return Ran(tuple(words), 127, "", str(error), time.monotonic() - started)
        code: int | None
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            code = None
            end(process)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read(_MAX_BYTES).decode(errors="replace"))
        return Ran(tuple(words), code, texts[0], texts[1], time.monotonic() - started)


def _file() -> IO[bytes]:
    """Return a file in memory: on a full disk a program would say less, such as fewer GPUs, or nothing."""
    if sys.platform == "linux":
        return open(os.memfd_create("output"), "w+b")
    return tempfile.TemporaryFile()


def start(words: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a program in the background, without its output.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(  # noqa: S603 -- programs that probes name
        list(words),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program with all that it started, and wait only briefly for it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_LEAVE_SECONDS)
