"""A shell that a reader would sit at: each command in its own bash, variables and directory carried along."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMMAND_SECONDS = 240.0
_END_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """The result of a command: its exit code, and standard output and error together."""

    code: int
    output: str


class Shell:
    """Runs commands one after another in `directory`; `folder` keeps the state between them."""

    def __init__(self, directory: Path, environment: Mapping[str, str], folder: Path) -> None:
        self._directory = directory
        self._environment = dict(environment)
        folder.mkdir(parents=True, exist_ok=True)
        self._state = folder / "variables.sh"

    def run(self, command: str) -> Answer:
        """Run a command; one that does not end is ended with its children, and its code is 124."""
        state = shlex.quote(str(self._state))
        # What a command sets is exported, so that `export -p` can carry it to the next.
        script = (
            f'[ ! -f {state} ] || {{ . {state}; cd -- "$PWD"; }}\n'
            f'set -a\n{command}\nset -- "$?"\nset +a\nexport -p > {state}\nexit "$1"\n'
        )
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=COMMAND_SECONDS)
            return Answer(process.returncode, output)
        except subprocess.TimeoutExpired:
            return Answer(124, f"'{command}' did not end within {COMMAND_SECONDS:.0f} s")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_END_SECONDS)
