"""The node: its files below a root, its commands, its log, and the number of changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

_FIRST_WAIT_SECONDS = 5.0
_MAX_WAIT_SECONDS = 60.0
_TAIL_LINES = 5


class StepError(Exception):
    """A failed step: `reason` is the cause, `next_step` the advice to a person.

    With `retryable` another attempt may succeed (a lock, a network).
    """

    def __init__(self, reason: str, next_step: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_step = next_step
        self.retryable = retryable


@dataclass
class Node:
    """The machine this runs on.

    `root` goes before every file, and `time_scale` multiplies every wait; both exist so that tests can run
    the whole program. Programs are found through PATH.
    """

    root: Path = Path("/")
    time_scale: float = 1.0
    step: str = "start"
    changes: int = 0

    def path(self, absolute: str) -> Path:
        """Return the path below `root` of an absolute path of the node."""
        return self.root / absolute.lstrip("/")

    @property
    def prefix_options(self) -> list[str]:
        """Options that make useradd and its relatives work below `root`."""
        return [] if self.root == Path("/") else ["--prefix", str(self.root)]

    def log(self, message: str) -> None:
        """Write one line with the time (UTC) and the step."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        sys.stdout.write(f"{stamp} [{self.step}] {message}\n")
        sys.stdout.flush()

    def changed(self, message: str) -> None:
        """Log and count one change."""
        self.changes += 1
        self.log(f"changed: {message}")

    def require(self, program: str, next_step: str) -> None:
        """Raise StepError unless PATH has `program`."""
        if shutil.which(program) is None:
            raise StepError(f"program '{program}' is not installed on this node", next_step)

    def query(self, *command: str, timeout_seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command that changes nothing, and return its result whatever its exit code is.

        Raises:
            StepError: it is not installed, or did not end in time (which is retryable).
        """
        return self._start(command, timeout_seconds, {})

    def run(
        self,
        *command: str,
        next_step: str,
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float = 120,
        retryable_codes: frozenset[int] | None = frozenset(),
    ) -> None:
        """Log and run a command that changes something.

        `retryable_codes` are exit codes after which another attempt may succeed; None means all of them.

        Raises:
            StepError: it is not installed, did not end in time, or exited non-zero.
        """
        line = " ".join(command)
        self.log(f"run: {line}")
        result = self._start(command, timeout_seconds, environment or {})
        if result.returncode == 0:
            return
        for text in (result.stdout, result.stderr):
            for output in text.splitlines():
                self.log(f"  {output}")
        retryable = retryable_codes is None or result.returncode in retryable_codes
        reason = f"command '{line}' exited {result.returncode}: {last_lines(result)}"
        raise StepError(reason, next_step, retryable=retryable)

    def retry(self, attempt: Callable[[], Result], *, attempts: int = 5) -> Result:
        """Call `attempt` until it succeeds, waiting 5, 10, 20, 40, 60, 60, ... seconds in between.

        Raises:
            StepError: the last attempt failed, or one failed that is not retryable.
        """
        wait = _FIRST_WAIT_SECONDS
        for number in range(1, attempts + 1):
            try:
                return attempt()
            except StepError as error:
                if not error.retryable:
                    raise
                if number == attempts:
                    reason = f"{error.reason} (attempt {number} of {attempts})"
                    raise StepError(reason, error.next_step) from error
                self.log(f"attempt {number} of {attempts} failed, next in {wait:.0f} s: {error.reason}")
            time.sleep(wait * self.time_scale)
            wait = min(2 * wait, _MAX_WAIT_SECONDS)
        raise AssertionError("attempts is at least 1")

    def wait_until(self, condition: Callable[[], bool], *, what: str, seconds: float) -> bool:
        """Return whether `condition` came true within `seconds`, asking at growing intervals."""
        deadline = time.monotonic() + seconds * self.time_scale
        wait = 1.0
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.log(f"waiting for {what}, at most {left / self.time_scale:.0f} s more")
            time.sleep(min(wait * self.time_scale, left))
            wait = min(2 * wait, 15.0)
        return True

    def ensure_directory(self, absolute: str, mode: int) -> None:
        """Make a folder of root's with exactly this mode; several nodes may do so at once."""
        path = self.path(absolute)
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)
            self.changed(f"folder '{absolute}' made with mode {mode:o}")
        elif path.stat().st_mode & 0o7777 != mode:
            path.chmod(mode)
            self.changed(f"folder '{absolute}' set to mode {mode:o}")

    def write_file(
        self, absolute: str, text: str, mode: int, check: Callable[[Path], None] | None = None
    ) -> None:
        """Make a file of root's hold exactly `text`, in one move, so that no reader sees half of it.

        `check` is given the new file before it takes the old one's place, and raises to refuse it. Its name
        there has a dot, which keeps sudo and run-parts from reading it.
        """
        path = self.path(absolute)
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
            if path.stat().st_mode & 0o7777 != mode:
                path.chmod(mode)
                self.changed(f"file '{absolute}' set to mode {mode:o}")
            return
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(name, mode)
            if check is not None:
                check(Path(name))
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        self.changed(f"file '{absolute}' written")

    def _start(
        self, command: tuple[str, ...], timeout_seconds: float, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        # Messages in English: some are recognised, and all are read by whoever looks for them on the web.
        variables = {**os.environ, "LC_ALL": "C.UTF-8", **environment}
        try:
            return subprocess.run(  # noqa: S603 a list, never a shell; values were checked when read
                command,
                capture_output=True,
                check=False,
                env=variables,
                errors="replace",
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=timeout_seconds,
            )
        except FileNotFoundError as error:
            reason = f"program '{command[0]}' is not installed on this node"
            raise StepError(reason, "use an image that has it") from error
        except subprocess.TimeoutExpired as error:
            reason = f"command '{' '.join(command)}' did not end within {timeout_seconds:.0f} s"
            raise StepError(reason, "see what it waits for on the node", retryable=True) from error


def last_lines(result: subprocess.CompletedProcess[str]) -> str:
    """Return the end of what a command complained about, as one line."""
    lines = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
    return " | ".join(lines[-_TAIL_LINES:]) or "no output"
