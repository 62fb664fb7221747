"""Reader of nccl-tests' logs: rows to CSV or JSON, and the verdict on every run.

    python -m workloads.nccl_tests.results LOG [--csv | --json] [--min-busbw GB_PER_S]

A line may have any prefix: srun's and mpirun's labels, the names of pods, time stamps. Lines of NCCL and of other
programs may be between. A log may hold several runs. The columns are those of the version that the catalog pins and
of its predecessors from 2.13 on; those that `-I` and `-S` add are left out.

A run passes if the program wrote its last lines, a row was checked, no value was wrong and nothing else failed.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

PASSED, FAILED, UNREADABLE = 0, 1, 2
"""Exit codes: every run passed, one did not or there is none, and a log or an option that cannot be read."""

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
    def peak_busbw_gb_per_s(self) -> float:
        """The highest bus bandwidth of a row; 0 without rows."""
        halves = [half for row in self.rows for half in (row.out_of_place, row.in_place)]
        return max(
            (half.busbw_gb_per_s for half in halves if math.isfinite(half.busbw_gb_per_s)), default=0.0
        )

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
        if min_busbw is not None and self.rows and self.peak_busbw_gb_per_s < min_busbw:
            found.append(
                f"the peak bus bandwidth, {self.peak_busbw_gb_per_s:g} GB/s, is below {min_busbw:g} GB/s"
            )
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


def write_csv(runs: Sequence[Run], output: TextIO) -> None:
    """Write one line per row of each run, with a header; wrong values that were not counted are empty."""
    writer = csv.writer(output, lineterminator="\n")
    halves = ("time_us", "algbw_gb_per_s", "busbw_gb_per_s", "wrong")
    writer.writerow(
        [
            *("run", "backend", "collective", "version", "nccl", "ranks", "hosts"),
            *("size_bytes", "count", "type", "redop", "root"),
            *(f"{half}_{name}" for half in ("out_of_place", "in_place") for name in halves),
        ]
    )
    for number, run in enumerate(runs, 1):
        about = (number, run.backend, run.collective, run.version, run.nccl, run.ranks, run.hosts)
        for row in run.rows:
            values = (row.size_bytes, row.count, row.type, row.redop, row.root)
            measured = (*_values(row.out_of_place), *_values(row.in_place))
            writer.writerow([*about, *values, *measured])


def _values(measure: Measure) -> tuple[float | int | None, ...]:
    return measure.time_us, measure.algbw_gb_per_s, measure.busbw_gb_per_s, measure.wrong


def write_json(runs: Sequence[Run], output: TextIO, min_busbw: float | None = None) -> None:
    """Write the runs with their rows and with why they did not pass; a number that is not finite is null."""
    documents = []
    for run in runs:
        problems = run.problems(min_busbw)
        names = {"backend": run.backend, "collective": run.collective}
        about = {"passed": not problems, "problems": problems, "peak_busbw_gb_per_s": run.peak_busbw_gb_per_s}
        documents.append({**names, **about, **asdict(run)})
    json.dump({"runs": _finite(documents)}, output, indent=2, allow_nan=False)
    output.write("\n")


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def summary(runs: Sequence[Run], min_busbw: float | None = None) -> Iterator[str]:
    """Yield a line per run, and below it why it did not pass."""
    for number, run in enumerate(runs, 1):
        problems = run.problems(min_busbw)
        average = run.average_busbw_gb_per_s
        busbw = "unknown" if average is None else f"{average:g} GB/s"
        yield (
            f"run {number}: {run.backend} {run.collective or 'unknown collective'}, {run.ranks} ranks on "
            f"{run.hosts} hosts, {len(run.rows)} sizes: {'failed' if problems else 'passed'}; bus bandwidth "
            f"{busbw} on average, {run.peak_busbw_gb_per_s:g} GB/s at most"
        )
        yield from (f"  {problem}" for problem in problems)


def main(words: Sequence[str] | None = None) -> int:
    """Read the log that the command line names, write what it asks for, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads.nccl_tests.results",
        description="Read a log of nccl-tests, or of the gloo program: its rows, and whether every run passed.",
        epilog="Exit code 0: every run passed. 1: a run failed, or the log has none. 2: the log cannot be read.",
    )
    parser.add_argument("log", help="the log; - for standard input")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="write the rows as CSV to standard output")
    form.add_argument("--json", action="store_true", help="write runs and rows as JSON to standard output")
    parser.add_argument(
        "--min-busbw",
        type=float,
        metavar="GB_PER_S",
        help="a run passes only if a row has this bus bandwidth at least; by default it is not judged",
    )
    options = parser.parse_args(words)
    try:
        runs = _read_log(options.log)
    except OSError as error:
        sys.stderr.write(f"log '{options.log}' cannot be read: {error.strerror}\n")
        return UNREADABLE
    if not runs:
        sys.stderr.write(
            f"log '{options.log}' has no table of nccl-tests; rank 0 prints it: name its log, or the job's\n"
        )
        return FAILED
    if options.csv:
        write_csv(runs, sys.stdout)
    elif options.json:
        write_json(runs, sys.stdout, options.min_busbw)
    failed = any(run.problems(options.min_busbw) for run in runs)
    if failed or not (options.csv or options.json):
        output = sys.stderr if options.csv or options.json else sys.stdout
        output.writelines(f"{line}\n" for line in summary(runs, options.min_busbw))
    return FAILED if failed else PASSED


def _read_log(name: str) -> list[Run]:
    if name == "-":
        return read(sys.stdin)
    with Path(name).open(encoding="utf-8", errors="replace") as log:
        return read(log)


if __name__ == "__main__":
    sys.exit(main())
