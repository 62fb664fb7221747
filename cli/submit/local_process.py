"""A script on this machine: its output here and in a file, its exit code ours, signals passed on, restarts limited."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import IO

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


_STOPPING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""Signals after which a run is not started again: a person, or the machine's shutdown, ends it."""


def run_here(
    script: str,
    environment: Mapping[str, str],
    log: Path,
    *,
    restarts: int = 0,
    final: Path | None = None,
    read: Callable[[str], None] = lambda _: None,
) -> int:
    """Run a bash script, append what it prints to `log`, and return its exit code (128 + n for signal n).

    A script that fails is started again, `restarts` times at most, unless a signal asked it to stop or it left the
    file `final`, which holds the exit code that another start would only repeat. Ctrl-C reaches the script from the
    terminal directly; we wait until it ends. `read` gets each line that it prints.

    Raises:
        BlockingIOError: another process runs it, with the same log.
        OSError: the log cannot be written, or there is no bash.
    """
    log.parent.parent.mkdir(parents=True, exist_ok=True)
    # As the script makes it, whatever this user's mask is.
    log.parent.mkdir(mode=0o750, exist_ok=True)
    with log.open("ab") as file:
        _lock(file.fileno())
        started = 0
        while True:
            if final:
                final.unlink(missing_ok=True)
            code, stopped = _once(script, environment, file, read)
            if code and final and final.exists():
                return _code_of(final) or code
            if code == 0 or stopped or started == restarts:
                return code
            started += 1
            line = f"exit code {code}: started again, restart {started} of {restarts}\n".encode()
            file.write(line)
            file.flush()
            _show(line)


def _once(
    script: str, environment: Mapping[str, str], log: IO[bytes], read: Callable[[str], None]
) -> tuple[int, bool]:
    """Run a script once and return its exit code, and whether a signal asked it to stop."""
    process = subprocess.Popen(  # noqa: S603 - the script is the one that was shown
        ["bash", "-c", script],  # noqa: S607 - the machine's own bash, wherever it is
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    received: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if number != signal.SIGINT:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (*_PASSED_ON, signal.SIGINT)}
    try:
        for line in process.stdout:
            log.write(line)
            log.flush()
            _show(line)
            read(line.decode(errors="replace").rstrip("\r\n"))
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code, any(number in _STOPPING for number in received)


def _code_of(final: Path) -> int:
    """Return the exit code that a script left in its file, or 0; on a full file system the file is empty."""
    try:
        return int(final.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _lock(descriptor: int) -> None:
    """Keep the log for this process until it ends, where the file system has locks (some shared ones have none)."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return


def _show(line: bytes) -> None:
    """Print a line; a reader that closes the pipe (`| head`) does not stop the run, whose log continues."""
    try:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
