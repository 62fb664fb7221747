"""The real CDK CLI, run against the emulator: bounded in time, its output kept, no child left behind."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emulator.environment import ACCOUNT
from emulator.server import Emulator

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_SECONDS = 300.0
_GRACE_SECONDS = 5.0
_TAIL_LINES = 40
_ROUTINE = re.compile(r"\| [A-Z_]+_(IN_PROGRESS|COMPLETE|SKIPPED) +\|")


class CdkError(Exception):
    """The CLI failed, or took too long. The text holds the command, the last lines and where the log is."""


@dataclass
class Outcome:
    """The result of a run of the CLI: its lines (standard output and error together) and its duration."""

    command: str
    lines: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """Return all lines."""
        return "\n".join(self.lines)


class Cdk:
    """Runs `cdk` for one emulator. `folder` takes the assemblies and `cdk.log`, where everything is kept.

    `app` is the command that synthesizes, run in `directory`; `context` are its `-c` values. `on_line` is
    called with every line of output as it comes. A run ends after `seconds`.
    """

    def __init__(
        self,
        emulator: Emulator,
        folder: Path,
        *,
        directory: Path,
        app: str | None = None,
        context: Sequence[str] = (),
        on_line: Callable[[str], None] | None = None,
        seconds: float = DEFAULT_SECONDS,
    ) -> None:
        self._seconds = seconds
        self._emulator = emulator
        self._folder = folder
        self._directory = directory
        # The CLI hands it to a shell.
        self._app = app or f"{shlex.quote(sys.executable)} app.py"
        self._context = [part for value in context for part in ("--context", value)]
        self._on_line = on_line or (lambda _line: None)
        self._running: subprocess.Popen[str] | None = None
        self.log = folder / "cdk.log"
        folder.mkdir(parents=True, exist_ok=True)
        self.log.touch()

    def bootstrap(self) -> Outcome:
        """Bootstrap the emulated account, from a folder without an app: bootstrapping must not synthesize."""
        target = f"aws://{ACCOUNT}/{self._emulator.region}"
        empty = self._folder / "bootstrap"
        empty.mkdir(exist_ok=True)
        return self._run(["bootstrap", target], directory=empty, app="")

    def deploy(self, *stacks: str, outputs: Path | None = None) -> Outcome:
        """Deploy stacks with those they depend on, by change sets as the CLI does by default; no name means all."""
        written = ["--outputs-file", str(outputs)] if outputs else []
        asked = ["--require-approval", "never", "--progress", "events"]
        return self._run(["deploy", *(stacks or ("--all",)), *asked, *written])

    def destroy(self, *stacks: str) -> Outcome:
        """Destroy stacks, those that depend on them first; no name means all."""
        assembly = self._folder / "cdk.out"
        # What was deployed is destroyed: synthesizing again would only cost time.
        app = str(assembly) if (assembly / "manifest.json").exists() else None
        return self._run(["destroy", *(stacks or ("--all",)), "--force"], app=app)

    def diff(self, *stacks: str) -> Outcome:
        """Compare the stacks with what is deployed, by their templates."""
        return self._run(["diff", *stacks, "--no-change-set"])

    def stop(self) -> None:
        """End a run that is under way, with all its children."""
        process = self._running
        if process is not None:
            _end(process)

    def _run(
        self,
        arguments: list[str],
        *,
        directory: Path | None = None,
        app: str | None = None,
    ) -> Outcome:
        """Run the CLI with `app` in place of the one that synthesizes ("" for none).

        Raises:
            CdkError: it ended with another code than 0, or did not end in time.
        """
        command = ["cdk", *arguments, "--ci", "--no-color", "--no-notices"]
        if app is None:
            command += ["--app", self._app, "--output", str(self._folder / "cdk.out"), *self._context]
        elif app:
            command += ["--app", app]
        outcome = Outcome(command=" ".join(command))
        began = time.monotonic()
        with self.log.open("a", encoding="utf-8") as log, self._child(command, directory) as process:
            log.write(f"$ {outcome.command}\n")
            expired = threading.Event()

            def expire() -> None:
                expired.set()
                _end(process)

            watchdog = threading.Timer(self._seconds, expire)
            watchdog.start()
            try:
                assert process.stdout is not None
                for raw in process.stdout:
                    line = raw.rstrip("\n")
                    outcome.lines.append(line)
                    log.write(f"{line}\n")
                    log.flush()
                    self._on_line(line)
                code = process.wait()
            finally:
                watchdog.cancel()
        outcome.seconds = time.monotonic() - began
        if expired.is_set():
            raise CdkError(self._report(outcome, f"did not end within {self._seconds:.0f} s"))
        if code != 0:
            raise CdkError(self._report(outcome, f"ended with code {code}"))
        return outcome

    @contextlib.contextmanager
    def _child(self, command: list[str], directory: Path | None) -> Iterator[subprocess.Popen[str]]:
        environment = {
            **self._emulator.environment(),
            "PATH": os.pathsep.join(
                [str(Path(sys.executable).parent), str(ROOT / "node_modules" / ".bin"), os.environ["PATH"]]
            ),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }
        try:
            process = subprocess.Popen(
                command,
                cwd=directory or self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                # A group of its own: the CLI starts Node and Python, and all of them must end together.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise CdkError("program 'cdk' is not installed; 'make setup' installs it") from error
        self._running = process
        try:
            yield process
        finally:
            self._running = None
            _end(process)
            assert process.stdout is not None
            process.stdout.close()

    def _report(self, outcome: Outcome, what: str) -> str:
        telling = [line for line in outcome.lines if line.strip() and not _ROUTINE.search(line)]
        tail = "\n".join(telling[-_TAIL_LINES:])
        return f"'{outcome.command}' {what}; its last lines:\n{tail}\nthe whole log is {self.log}"


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and its group, gently first."""
    for number, seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, _GRACE_SECONDS)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            # The leader is gone; whoever of its group ignored the signal gets the next one.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            return
