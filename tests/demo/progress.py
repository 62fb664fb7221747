"""Progress of a deployment: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from emulator.server import Emulator, EmulatorError

_POLL_SECONDS = 0.2
_STACK_TYPE = "AWS::CloudFormation::Stack"
_CLI_LINES = re.compile(r"(Synthesis time|Building|Publishing|deploying\.\.\.|destroying\.\.\.|no changes)")


class Progress:
    """Shows which step runs, which stack, which resource, and for how long.

    It follows the emulator's events from a thread of its own, because the CLI prints them late. `seconds`
    holds how long the deployment of each stack took. `brief` prints one line for a step, and what fails.
    """

    def __init__(self, console: Console, emulator: Emulator, *, brief: bool = False) -> None:
        self._console = console
        self._brief = brief
        self._emulator = emulator
        self._status: Status | None = None
        self._seen = 0
        self._step = ""
        self._detail = ""
        self._began = time.monotonic()
        self._stack_began: dict[str, float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._lock = threading.Lock()
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Begin to follow."""
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop following and leave the terminal clean."""
        self._done.set()
        self._thread.join()
        if self._status is not None:
            self._status.stop()

    @contextlib.contextmanager
    def step(self, name: str, command: str) -> Iterator[None]:
        """Show a step while its body runs, and how long it took."""
        self._step, self._detail, self._began = name, "", time.monotonic()
        if not self._brief:
            self._console.print(f"[bold]{name}[/bold] {escape(command)}")
        yield
        self._drain()
        done = f"{escape(command)}: done" if self._brief else "done"
        self._console.print(f"[bold]{name}[/bold] {done} in {time.monotonic() - self._began:.1f} s")

    def line(self, line: str) -> None:
        """Take a line of the CLI: the telling ones become the detail of the live line."""
        if _CLI_LINES.search(line) and " | " not in line:
            self._detail = line.strip()
            self._show()

    def _follow(self) -> None:
        while not self._done.wait(_POLL_SECONDS):
            self._drain()
            self._show()

    def _drain(self) -> None:
        with self._lock:
            try:
                events = self._emulator.events()
            except EmulatorError:
                return  # It is being stopped, or a request is in the way: the next round sees it.
            fresh, self._seen = events[self._seen :], len(events)
            for event in fresh:
                self._take(event)

    def _take(self, event: dict[str, str]) -> None:
        stack, status = event["stack"], event["status"]
        if event["type"] == _STACK_TYPE:
            if status.endswith("_IN_PROGRESS"):
                self._stack_began.setdefault(f"{stack} {self._step}", time.monotonic())
            elif not status.startswith("REVIEW"):
                took = time.monotonic() - self._stack_began.get(f"{stack} {self._step}", self._began)
                if not status.startswith("DELETE"):
                    self.seconds[stack] = took
                failed = "FAILED" in status or "ROLLBACK" in status
                colour = "red" if failed else "green"
                reason = f": {escape(event['reason'])}" if event["reason"] else ""
                if failed or not self._brief:
                    self._console.print(f"  {stack} [{colour}]{status}[/{colour}]{reason}")
            return
        self._detail = f"{stack} {event['type']} {event['logical_id']}"
        if status.endswith("_FAILED"):
            text = f"{stack} {event['type']} {event['logical_id']} {status}: {event['reason']}"
            self._console.print(f"  [red]{escape(text)}[/red]")

    def _show(self) -> None:
        if self._status is not None:
            elapsed = time.monotonic() - self._began
            text = f"{self._step} {elapsed:4.0f} s  {self._detail}"
            # One line only, the spinner's place left free: a wrapped line is not taken back.
            self._status.update(escape(text[: self._console.width - 4]))
