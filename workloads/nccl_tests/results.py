"""Reader of nccl-tests' logs: rows to CSV or JSON, and the verdict on every run.

    python -m workloads.nccl_tests.results LOG [--csv | --json] [--min-busbw GB_PER_S]

A line may have any prefix: srun's and mpirun's labels, the names of pods, time stamps. Lines of NCCL and of other
programs may be between. A log may hold several runs. The columns are those of the version that the catalog pins and
of its predecessors from 2.13 on; those that `-I` and `-S` add are left out.

A run passes if the program wrote its last lines, a row was checked, no value was wrong and nothing else failed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from workloads.collective_results import Reader, highest, too_slow

_NUMBER = r"-?(?:\d[\d.]*(?:e[+-]?\d+)?|nan|inf)"
_PREAMBLE = re.compile(
    r"(?<![\w.])(?P<size>\d+)\s+(?P<count>\d+)\s+(?P<type>[a-z]\w+)\s+"
    r"(?P<redop>sum|prod|max|min|avg|mulsum|none)\s+(?P<root>-?\d+)(?=\s|$)(?P<rest>.*)"
)
_MEASURE = rf"\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER}|N/A)"
# With -I four columns of single iterations follow each measure.
_ITERATIONS = rf"(?:\s+{_NUMBER}){{4}}"
_MEASURES = tuple(
    re.compile(rf"^{_MEASURE}{more}{_MEASURE}{more}(?:\s+\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d)?\s*$")
    for more in ("", _ITERATIONS)
)

_VERSION = re.compile(r"# nccl-tests version (\S+) nccl-headers=(\d+) nccl-library=(\d+)")
_STARTING = re.compile(r"# Collective test starting: (\S+)")
_OPTIONS = re.compile(r"# nThread \d+ nGpus \d+ minBytes \d+")
_RANK = re.compile(r"#\s+Rank\s+(\d+)\s.*?\son\s+(\S+)\s+device")
_OUT_OF_BOUNDS = re.compile(r"# Out of bounds values\s*:\s*(\d+) (OK|FAILED)")
_AVERAGE = re.compile(rf"# Avg bus bandwidth\s*:\s*({_NUMBER})(?:\s+(OK|FAILED))?")
_ERRORS = (
    re.compile(r"\S+: Test (?:CUDA failure|NCCL failure|timeout) .*"),
    re.compile(r"\.\. \S+ pid \d+: Test failure .*"),
    re.compile(r"# error: .*"),
)

GLOO = "_gloo"
"""The suffix of a program's name for gloo; nccl-tests' own end in `_perf`."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One half of a row: microseconds, GB/s, and the wrong values, None where they were not counted."""

    time_us: float
    algbw_gb_per_s: float
    busbw_gb_per_s: float
    wrong: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: a size, and what was measured out of place and in place."""

    size_bytes: int
    count: int
    type: str
    redop: str
    root: int
    out_of_place: Measure
    in_place: Measure

    @property
    def wrong(self) -> list[int]:
        """The wrong values of each half that was checked."""
        return [half.wrong for half in (self.out_of_place, self.in_place) if half.wrong is not None]


@dataclass(slots=True)
class Run:
    """One run of a program of nccl-tests, or of the gloo program, as far as the log has it.

    `average_busbw_gb_per_s` is the program's own figure, over all rows. None: the log ends before it.
    """

    program: str = ""
    version: str = ""
    nccl: str = ""
    ranks: int = 0
    hosts: int = 0
    rows: list[Row] = field(default_factory=list)
    out_of_bounds: int | None = None
    average_busbw_gb_per_s: float | None = None
    too_slow: bool = False
    errors: list[str] = field(default_factory=list)

    @property
    def collective(self) -> str:
        """The collective, as nccl-tests names it; empty if the log does not name it (before 2.17)."""
        return re.sub(r"(_perf\w*|_gloo)$", "", self.program)

    @property
    def backend(self) -> str:
        """The library that moved the data: nccl, or gloo for the program that runs on processors."""
        return "gloo" if self.program.endswith(GLOO) else "nccl"

    @property
    def title(self) -> str:
        """The run's program and its size."""
        return (
            f"{self.backend} {self.collective or 'unknown collective'}, {self.ranks} ranks on {self.hosts} hosts, "
            f"{len(self.rows)} sizes"
        )

    @property
    def average_busbw(self) -> float | None:
        """The program's own mean over all rows; None: the log ends before it."""
        return self.average_busbw_gb_per_s

    @property
    def peak_busbw(self) -> float:
        """The highest bus bandwidth of a row; 0 without rows."""
        return highest(half.busbw_gb_per_s for row in self.rows for half in (row.out_of_place, row.in_place))

    def by_size(self) -> dict[int, float]:
        """Return the bus bandwidth out of place in GB/s of each size in bytes."""
        return {row.size_bytes: row.out_of_place.busbw_gb_per_s for row in self.rows}

    def document(self) -> dict[str, Any]:
        """Return the run as JSON has it."""
        names = {"backend": self.backend, "collective": self.collective}
        return {**names, "peak_busbw_gb_per_s": self.peak_busbw, **asdict(self)}

    def lines(self) -> Iterator[list[object]]:
        """Yield a line of CSV for each row."""
        about = (self.backend, self.collective, self.version, self.nccl, self.ranks, self.hosts)
        for row in self.rows:
            values = (row.size_bytes, row.count, row.type, row.redop, row.root)
            yield [*about, *values, *_values(row.out_of_place), *_values(row.in_place)]

    def problems(self, min_busbw: float | None = None) -> list[str]:
        """Return why the run did not pass; empty where it did. `min_busbw` is the least peak bus bandwidth."""
        found = list(self.errors)
        if not self.rows:
            found.append("it has no rows")
        if self.average_busbw_gb_per_s is None:
            last = f" after {self.rows[-1].size_bytes} bytes" if self.rows else ""
            found.append(f"the log ends{last} without the lines that the program writes last")
        wrong = [row for row in self.rows if any(row.wrong)]
        for row in wrong:
            found.append(f"{max(row.wrong)} values are wrong at {row.size_bytes} bytes")
        if self.out_of_bounds and not wrong:
            found.append(f"the program counted {self.out_of_bounds} values out of bounds")
        if self.rows and not any(row.wrong for row in self.rows):
            found.append("no result was checked (option -c 0)")
        if self.too_slow:
            found.append(
                f"the average bus bandwidth, {self.average_busbw_gb_per_s:g} GB/s, is below NCCL_TESTS_MIN_BW"
            )
        if self.rows:
            found.extend(too_slow(self.peak_busbw, min_busbw))
        return found


def read(lines: Iterable[str]) -> list[Run]:
    """Return the runs of a log, in its order."""
    runs: list[Run] = []
    devices: set[str] = set()
    begun: set[str] = set()

    def header(kind: str) -> Run:
        """Return the run that a line of a header belongs to: a new one where the last has had such a line."""
        if not runs or kind in begun or runs[-1].rows or runs[-1].average_busbw_gb_per_s is not None:
            runs.append(Run())
            begun.clear()
            devices.clear()
        begun.add(kind)
        return runs[-1]

    for line in lines:
        if found := _VERSION.search(line):
            run = header("version")
            run.version, run.nccl = found[1], _nccl_version(int(found[3]))
        elif found := _STARTING.search(line):
            header("starting").program = found[1]
        elif _OPTIONS.search(line):
            header("options")
        elif (found := _PREAMBLE.search(line)) and (runs or _measures(found["rest"])):
            run = runs[-1] if runs and runs[-1].average_busbw_gb_per_s is None else header("rows")
            row = _row(found)
            if row is None:
                run.errors.append(f"a row is cut or mixed with other output: '{line.strip()}'")
            else:
                run.rows.append(row)
        elif runs:
            _take(runs[-1], line, devices)
    return runs


def _take(run: Run, line: str, devices: set[str]) -> None:
    """Take in a line that is neither a header's first nor a row."""
    if found := _RANK.search(line):
        run.ranks += 1
        devices.add(found[2])
        run.hosts = len(devices)
    elif found := _OUT_OF_BOUNDS.search(line):
        run.out_of_bounds = int(found[1])
    elif found := _AVERAGE.search(line):
        run.average_busbw_gb_per_s = float(found[1])
        run.too_slow = found[2] == "FAILED"
    else:
        for pattern in _ERRORS:
            if found := pattern.search(line):
                run.errors.append(found[0].strip())


def _nccl_version(code: int) -> str:
    """Return NCCL's version of its number, such as 22809."""
    return f"{code // 10000}.{code // 100 % 100}.{code % 100}"


def _measures(text: str) -> tuple[Measure, Measure] | None:
    for pattern in _MEASURES:
        if found := pattern.match(text):
            first, second = found.groups()[:4], found.groups()[4:]
            return _measure(first), _measure(second)
    return None


def _measure(texts: Sequence[str]) -> Measure:
    time, algbw, busbw, wrong = texts
    return Measure(float(time), float(algbw), float(busbw), None if wrong == "N/A" else int(float(wrong)))


def _row(found: re.Match[str]) -> Row | None:
    measures = _measures(found["rest"])
    if measures is None:
        return None
    numbers = int(found["size"]), int(found["count"])
    return Row(*numbers, found["type"], found["redop"], int(found["root"]), *measures)


def _values(measure: Measure) -> tuple[float | int | None, ...]:
    return measure.time_us, measure.algbw_gb_per_s, measure.busbw_gb_per_s, measure.wrong


_HALF = ("time_us", "algbw_gb_per_s", "busbw_gb_per_s", "wrong")

READER = Reader(
    module="workloads.nccl_tests.results",
    benchmark="nccl-tests",
    description="Read a log of nccl-tests, or of the gloo program: its rows, and whether every run passed.",
    read=read,
    columns=(
        *("backend", "collective", "version", "nccl", "ranks", "hosts"),
        *("size_bytes", "count", "type", "redop", "root"),
        *(f"{half}_{name}" for half in ("out_of_place", "in_place") for name in _HALF),
    ),
)


def main(words: Sequence[str] | None = None) -> int:
    """Read the log that the command line names, write what it asks for, and return the exit code."""
    return READER.main(words)


if __name__ == "__main__":
    sys.exit(main())
