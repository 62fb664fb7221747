"""Programs that run beside the tests: each with its log, and none that outlives the process that started it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TAIL_CHARACTERS = 2000
_STOP_SECONDS = 5.0
"""Nothing that they hold is needed afterwards."""

_POLL_SECONDS = 0.1


class ProgramError(Exception):
    """A program does not start, is not ready in time, or ended. The text holds the end of its log."""


@dataclass
class Processes:
    """Programs of one folder; their logs are in `folder / "logs"`."""

    folder: Path
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _last: list[Callable[[], None]] = field(default_factory=list)

    def start(
        self, name: str, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start a program; the kernel ends it with the thread that started it.

        Raises:
            ProgramError: it cannot be executed.
        """
        assert name not in self._running, f"{name} runs already"
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        # Linux only, as the process nodes are.
        mortal = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        try:
            with log.open("ab") as output:
                self._running[name] = subprocess.Popen(
                    [*mortal, *map(str, command)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    cwd=self.folder,
                    env={**os.environ, **(environment or {})},
                )
        except OSError as error:
            raise ProgramError(f"{name} does not start: {error}") from None

    def log(self, name: str) -> Path:
        """Return the path of a program's log."""
        return self.folder / "logs" / f"{name}.log"

    def running(self, name: str) -> bool:
        """Tell whether a program was started and has not ended."""
        return name in self._running and self._running[name].poll() is None

    def pid(self, name: str) -> int:
        """Return the process id of a program that was started."""
        return self._running[name].pid

    def await_ready(self, name: str, ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until a program is ready.

        Raises:
            ProgramError: it ended, or is not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            self.check([name])
            if time.monotonic() > deadline:
                raise ProgramError(f"{name} is not ready after {seconds:.0f} s; {self._tail(name)}")
            time.sleep(_POLL_SECONDS)

    def check(self, names: Sequence[str] = ()) -> None:
        """Check that programs run, all of them where none is named.

        Raises:
            ProgramError: one ended.
        """
        for name in names or list(self._running):
            code = self._running[name].poll()
            if code is not None:
                raise ProgramError(f"{name} ended with code {code}; {self._tail(name)}")

    def on_stop(self, action: Callable[[], None]) -> None:
        """Do something more when all programs have been ended."""
        self._last.append(action)

    def stop(self, names: Sequence[str] | None = None) -> None:
        """End programs, all of them where none is named: the youngest first, with SIGTERM and then SIGKILL."""
        stopping = {
            name: self._running.pop(name)
            for name in reversed(list(self._running) if names is None else names)
        }
        for process in stopping.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for process in stopping.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        while not self._running and self._last:
            self._last.pop()()

    def _tail(self, name: str) -> str:
        text = self.log(name).read_text(encoding="utf-8", errors="replace")[-_TAIL_CHARACTERS:]
        return f"{self.log(name)} ends with:\n{text}"
