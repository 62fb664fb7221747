"""The program that a launch guard starts: signals go in, its output and its exit code come out."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

import progress_lines
import rank_processes
from child_processes import end_with_parent
from exit_codes import of_process
from last_words import LastWords

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
GRACE_SECONDS = 60
"""Seconds that a run that cannot continue may take to stop before it is killed: twice what torchrun gives its ranks."""

_STOPS = (signal.SIGTERM, signal.SIGUSR1)
"""Signals of a scheduler that ask a run to save and stop (`training.signals`)."""

_DRAIN_SECONDS = 5
"""Seconds in which output may still come after the program's end: its remaining children may keep the pipe open."""

_LAST_WORDS_SECONDS = 5
"""Seconds that a launcher may take to end after its ranks were killed."""

_PIECE_BYTES = 1 << 16
_LINE_END = re.compile(rb"[\r\n]")
_RANK_ENDED = re.compile(rb"^ +exitcode +: (-?[0-9]+) \(pid: [0-9]+\)")
"""A line of torchrun's last words, one for each rank that failed (torch/distributed/elastic/multiprocessing/errors)."""


class Relay(threading.Thread):
    """Passes on what a program writes, unchanged and at once, and calls `found` with the metrics of each line that
    matches. A carriage return ends a line too: progress bars are redrawn so. `codes` are the exit codes of ranks that
    torchrun prints. Its own traceback is left out where the ranks have told their reason.
    """

    def __init__(
        self,
        source: int,
        target: int,
        pattern: re.Pattern[str] | None,
        found: Callable[[Mapping[str, float]], None],
    ) -> None:
        super().__init__(name="relay", daemon=True)
        self._source = source
        self._target = target
        self._pattern = pattern
        self._found = found
        self._unfinished = b""
        self._words = LastWords()
        self.codes: list[int] = []

    def run(self) -> None:
        """Forward output until no process writes more, or the reader is gone: then the program's next write fails."""
        while piece := os.read(self._source, _PIECE_BYTES):
            try:
                self._write(self._words.passed(piece))
            except OSError:
                os.close(self._source)
                return
            self._search(piece)
        self.finish()

    def finish(self) -> None:
        """Write what was held back of torchrun's last words, unless the ranks have told their reason."""
        with contextlib.suppress(OSError):
            self._write(self._words.rest(self.codes))

    def _write(self, piece: bytes) -> None:
        while piece:
            try:
                piece = piece[os.write(self._target, piece) :]
            except BlockingIOError:
                select.select([], [self._target], [])

    def _search(self, piece: bytes) -> None:
        *lines, unfinished = _LINE_END.split(self._unfinished + piece)
        self._unfinished = unfinished[-_PIECE_BYTES:]
        for line in lines:
            if ended := _RANK_ENDED.match(line):
                self.codes.append(int(ended[1]))
            if self._pattern is None:
                continue
            metrics = progress_lines.values(line.decode("utf-8", "replace"), self._pattern)
            if metrics is not None:
                self._found(metrics)


class Command:
    """The program in a session of its own: it gets our signals, and we return its exit code."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._asked_to_stop = False
        self._relays: list[Relay] = []
        self.ended = threading.Event()
        for number in FORWARDED:
            signal.signal(number, self._forward)

    def start(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        *,
        progress: re.Pattern[str] | None = None,
        progressed: Callable[[Mapping[str, float]], None] = lambda _metrics: None,
    ) -> None:
        """Start the program; `progressed` is called with the metrics of each line that matches `progress`.

        Raises:
            OSError: there is no such program, or it cannot be run.
        """
        pipe = subprocess.PIPE if progress is not None else None
        self._process = subprocess.Popen(  # noqa: S603 -- running the given command is what this is for
            list(words),
            env=dict(environment),
            start_new_session=True,
            stdout=pipe,
            # torchrun's last words, which name the exit codes of ranks, are here.
            stderr=subprocess.PIPE,
            bufsize=0,
            preexec_fn=end_with_parent,
        )
        for stream, target in ((self._process.stdout, 1), (self._process.stderr, 2)):
            if stream is not None:
                self._relays.append(Relay(stream.fileno(), target, progress, progressed))
                self._relays[-1].start()
        for number in self._early:
            self.send(number)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if self._process is None:
            self._early.append(number)
        elif number not in _STOPS or not self._ask_ranks_to_stop(number):
            self.send(number)

    def _ask_ranks_to_stop(self, number: int) -> bool:
        """Send a signal to the ranks and not to their launcher; return whether they take it.

        torchrun passes a signal on and kills its ranks 30 seconds later, and no setting changes that before torch
        2.12: a save may take longer. Told twice, the launcher is told too, and so it is while a rank has no handler,
        which would die of the signal.
        """
        if self._asked_to_stop:
            return False
        ranks = rank_processes.ranks(self.process).values()
        if not ranks or not all(rank_processes.catches(rank, number) for rank in ranks):
            return False
        self._asked_to_stop = True
        for rank in ranks:
            try:
                os.kill(rank, number)
            except ProcessLookupError:
                continue
        return True

    def send(self, number: int) -> None:
        """Send a signal to the program's group; one that has ended already gets nothing."""
        if self._process is not None and self._process.returncode is None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return

    def end(self) -> None:
        """End the program: asked first, killed after the time of grace."""
        self.send(signal.SIGTERM)
        if not self.ended.wait(GRACE_SECONDS):
            self.send(signal.SIGKILL)

    @property
    def process(self) -> int:
        """The id of the program's process, once it is started."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Kill the program and all that it has started, at once.

        For a run that cannot save any more: a rank that waits for a frozen one would wait without end. The launcher
        comes last, so that it may still tell how its ranks ended.
        """
        for started in reversed(rank_processes.descendants(self.process)):
            try:
                os.kill(started, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not self.ended.wait(_LAST_WORDS_SECONDS):
            self.send(signal.SIGKILL)

    @property
    def rank_codes(self) -> list[int]:
        """The exit codes of ranks that torchrun printed; it ends with 1 itself."""
        return [code for relay in self._relays for code in relay.codes]

    def wait(self) -> int:
        """Wait for the program and its output, and return its exit code, as a shell would report it."""
        assert self._process is not None
        code = self._process.wait()
        self.ended.set()
        for relay in self._relays:
            relay.join(_DRAIN_SECONDS)
            if relay.is_alive():
                relay.finish()
        return of_process(code)
