"""The progress of a run that is waited for: one line in the same form for every program, when there is news."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from workloads.spec import Run

if TYPE_CHECKING:
    # By the names that these modules have on a node, and among themselves.
    from derived_metrics import StepSize, derive, line
    from progress_lines import values
else:
    from workloads.runtime.derived_metrics import StepSize, derive, line
    from workloads.runtime.progress_lines import values

FILE = "progress.prom"
"""The file of the run's folder that the launch guard replaces."""

SECONDS = 30.0
"""Time between two lines at least."""

_VALUE = re.compile(r"^trainforge_progress_(\w+)\{.*\} (\S+)$", re.MULTILINE)


def echo(text: str) -> None:
    """Print a line beside the program's own output."""
    typer.echo(text, err=True)


def lines_of(log: Path) -> list[str]:
    """Return the lines of a log; none where it is not seen from here."""
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


class RunProgress:
    """The last metrics of a run, from its log or from `progress.prom`; `say` prints a line."""

    def __init__(
        self, run: Run, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        pattern = run.progress.pattern
        self._pattern = re.compile(pattern) if pattern else None
        self._size = StepSize(run.ranks, run.global_batch, run.tokens_per_sample, run.peak_tflops)
        self._say = say
        self._clock = clock
        self._last: Mapping[str, float] = {}
        self._said = ""
        self._time = -SECONDS
        self._run = run

    def read_line(self, text: str) -> None:
        """Read a line of the program's log."""
        found = values(text, self._pattern) if self._pattern else None
        if found:
            self._last = {**self._last, **derive(found, self._size)}
            self.show()

    def read_file(self, run_folder: Path) -> None:
        """Read the metrics of a run's folder; nothing where it has none, or is not seen from here."""
        try:
            text = (run_folder / FILE).read_text(encoding="utf-8")
        except OSError:
            return
        self._last = {name: float(value) for name, value in _VALUE.findall(text)}
        self.show()

    def finish(self, code: int, log: Callable[[], Iterable[str]]) -> int:
        """Print the last line, and a benchmark's report; return the job's exit code, or 1 where the verdict fails it.

        `log` returns the lines of the job's log that are seen from here. A job that failed has no verdict: its table
        may end anywhere.
        """
        self.show(last=True)
        if code or not self._run.preset.collective:
            return code
        from cli.submit.bandwidth_report import report
        from workloads.bandwidth import Verdict, compare

        comparison = compare(self._run, log())
        for text in report(comparison) if comparison.measured else (comparison.sentence,):
            self._say(text)
        return int(comparison.verdict is Verdict.FAILED)

    def show(self, *, last: bool = False) -> None:
        """Print the line where it has changed and the last one is some time ago, or where it is the `last`."""
        text = line(self._last)
        now = self._clock()
        if not text or text == self._said or (not last and now - self._time < SECONDS):
            return
        self._said, self._time = text, now
        self._say(f"progress: {text}")
