"""The metrics that a launch guard has read from its program's lines: the last of each, and those that are judged.

`progress.prom` of the run's folder has the last values, as Prometheus reads them: a gauge `trainforge_progress_NAME`
for each metric, `trainforge_progress_lines_total` and `trainforge_progress_timestamp_seconds`, with the run's id as the
label `run`. It is replaced as a whole, so that a reader never sees half of it. `trainforge.prom` of our own trainers
has other names.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from derived_metrics import StepSize, derive

FILE = "progress.prom"

_OF: Mapping[str, str] = {"last": "last value", "median": "median", "every": "every value"}
"""Statistics of a metric's values that a bound may be for, with their words."""


@dataclass(frozen=True)
class Bound:
    """A bound of a metric: of its `last` value, its `median`, or `every` value."""

    metric: str
    of: str
    bound: float
    least: bool

    @classmethod
    def parse(cls, text: str, *, least: bool) -> Bound:
        """Return the bound of an option's text, METRIC:OF:NUMBER.

        Raises:
            ValueError: the text has another form.
        """
        metric, _, rest = text.partition(":")
        of, _, number = rest.partition(":")
        if not metric or of not in _OF or not math.isfinite(bound := float(number or "nan")):
            raise ValueError(f"'{text}' is not METRIC:OF:NUMBER with OF one of {', '.join(_OF)}")
        return cls(metric, of, bound, least)

    def judge(self, values: Sequence[float]) -> tuple[bool, str]:
        """Return whether the values keep the bound, and the verdict in words."""
        bound = f"{'at least' if self.least else 'at most'} {self.bound:g}"
        what = f"{_OF[self.of]} of {self.metric}"
        if not values:
            return False, f"{what}: {bound} expected, and no line printed it: missed"
        value = self._value(values)
        kept = value >= self.bound if self.least else value <= self.bound
        return kept, f"{what}: {value:g}, {bound} expected: {'met' if kept else 'missed'}"

    def _value(self, values: Sequence[float]) -> float:
        """Return the value that decides; one that is no number keeps no bound."""
        if self.of == "last":
            return values[-1]
        if any(math.isnan(value) for value in values):
            return math.nan
        if self.of == "median":
            return statistics.median(values)
        return min(values) if self.least else max(values)


class Metrics:
    """The metrics of a program's lines, and what follows from them; `bounds` are judged when it has ended."""

    def __init__(self, bounds: Sequence[Bound] = (), size: StepSize | None = None) -> None:
        self._bounds = tuple(bounds)
        self._size = size or StepSize()
        self._judged: dict[str, list[float]] = {bound.metric: [] for bound in bounds}
        self._written = 0
        self.lines = 0
        self.last: Mapping[str, float] = {}

    def take(self, found: Mapping[str, float]) -> None:
        """Add a line's metrics."""
        found = derive(found, self._size)
        self.last = {**self.last, **found}
        for name, values in self._judged.items():
            if name in found:
                values.append(found[name])
        self.lines += 1

    def passed(self, say: Callable[[str], None]) -> bool:
        """Print the verdict on each bound, and return whether all are kept."""
        verdicts = [bound.judge(self._judged[bound.metric]) for bound in self._bounds]
        for _, words in verdicts:
            say(words)
        return all(kept for kept, _ in verdicts)

    def write(self, folder: Path, run: str) -> None:
        """Replace the file of the run's folder where there is news; a full file system is not to end a run."""
        if self.lines == self._written:
            return
        self._written = self.lines
        temporary = folder / f".{FILE}.{os.getpid()}"
        with contextlib.suppress(OSError):
            temporary.write_text(exposition(self.last, self.lines, time.time(), run), encoding="utf-8")
            # The exporter reads it, as a user of its own.
            temporary.chmod(0o644)
            os.replace(temporary, folder / FILE)


def exposition(last: Mapping[str, float], lines: int, now: float, run: str) -> str:
    """Return metrics in Prometheus' text format."""
    label = run.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    values = {f"{name}": (value, "gauge") for name, value in last.items()}
    values |= {"lines_total": (lines, "counter"), "timestamp_seconds": (round(now, 3), "gauge")}
    return "".join(
        f'# TYPE trainforge_progress_{name} {kind}\ntrainforge_progress_{name}{{run="{label}"}} {_number(value)}\n'
        for name, (value, kind) in values.items()
    )


def _number(value: float) -> str:
    """Return a value as Prometheus writes it."""
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def words(last: Mapping[str, float]) -> str:
    """Return metrics as a message shows them; empty where there are none."""
    return ", ".join(f"{name} {value:g}" for name, value in last.items())
