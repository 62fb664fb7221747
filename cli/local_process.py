"""A script on this machine: its output here and in a file, its exit code ours, signals passed on."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def run_here(script: str, environment: Mapping[str, str], log: Path) -> int:
    """Run a bash script, append what it prints to `log`, and return its exit code (128 + n for signal n).

    Ctrl-C reaches the script from the terminal by itself; we wait for what it makes of it.

    Raises:
        BlockingIOError: another process is at it, with the same log.
        OSError: the log cannot be written, or there is no bash.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        _lock(file.fileno())
        process = subprocess.Popen(  # noqa: S603 - the script is the one that was shown
            ["bash", "-c", script],  # noqa: S607 - the machine's own bash, wherever it is
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None

        def pass_on(number: int, _frame: FrameType | None) -> None:
            process.send_signal(number)

        before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                _show(line)
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _lock(descriptor: int) -> None:
    """Keep the log for this process until it ends, where the file system has locks (some shared ones have none)."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return


def _show(line: bytes) -> None:
    """Print a line; whoever stops reading us (`| head`) does not stop the run, whose log goes on."""
    try:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
