"""The part that readers of benchmarks' logs share: CSV or JSON of the rows, a line per run, and the exit code.

A benchmark of collectives prints a table. Its workload has a reader of that table, a module `results`, which gives this
one its runs: `python -m workloads.nccl_tests.results LOG [--csv | --json] [--min-busbw GB_PER_S]`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TextIO, TypeVar

PASSED, FAILED, UNREADABLE = 0, 1, 2
"""Exit codes: every run passed, one did not or there is none, and a log or an option that cannot be read."""


class Result(Protocol):
    """A run of a benchmark, as far as a log has it."""

    @property
    def title(self) -> str:
        """The run's program and its size, for people."""

    @property
    def average_busbw(self) -> float | None:
        """The program's own mean of the bus bandwidth; None: the log ends before it."""

    @property
    def peak_busbw(self) -> float:
        """The highest bus bandwidth of a row; 0 without rows."""

    def by_size(self) -> dict[int, float]:
        """Return the bus bandwidth in GB/s (10^9 bytes) by size in bytes; out of place, where both are measured."""

    def problems(self, min_busbw: float | None = None) -> list[str]:
        """Return why the run did not pass; empty where it did. `min_busbw` is the least peak bus bandwidth."""

    def document(self) -> Mapping[str, Any]:
        """Return the run as JSON has it, its verdict left out."""

    def lines(self) -> Iterable[Sequence[object]]:
        """Return a line of CSV for each row, without the number of the run."""


R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader(Generic[R]):
    """The reader of a benchmark's logs, as a command.

    `columns` are those of `Result.lines`, `unit` is that of bandwidths, `who` says who prints the table.
    """

    module: str
    benchmark: str
    description: str
    read: Callable[[Iterable[str]], list[R]]
    columns: tuple[str, ...]
    unit: str = "GB/s"
    who: str = "rank 0 prints it: name its log, or the job's"

    def write_csv(self, runs: Sequence[R], output: TextIO) -> None:
        """Write one line per row of each run, with a header; what is not known is empty."""
        writer = csv.writer(output, lineterminator="\n")
        writer.writerow(["run", *self.columns])
        for number, run in enumerate(runs, 1):
            writer.writerows([number, *line] for line in run.lines())

    def write_json(self, runs: Sequence[R], output: TextIO, min_busbw: float | None = None) -> None:
        """Write the runs with their rows and with why they did not pass; a number that is not finite is null."""
        documents = []
        for run in runs:
            problems = run.problems(min_busbw)
            documents.append({"passed": not problems, "problems": problems, **run.document()})
        json.dump({"runs": finite(documents)}, output, indent=2, allow_nan=False)
        output.write("\n")

    def summary(self, runs: Sequence[R], min_busbw: float | None = None) -> Iterator[str]:
        """Yield a line per run, and below it why it did not pass."""
        for number, run in enumerate(runs, 1):
            problems = run.problems(min_busbw)
            average = run.average_busbw
            busbw = "unknown" if average is None else f"{average:g} {self.unit}"
            yield (
                f"run {number}: {run.title}: {'failed' if problems else 'passed'}; bus bandwidth {busbw} on average, "
                f"{run.peak_busbw:g} {self.unit} at most"
            )
            yield from (f"  {problem}" for problem in problems)

    def main(self, words: Sequence[str] | None = None) -> int:
        """Read the log that the command line names, write what it asks for, and return the exit code."""
        options = self._parser().parse_args(words)
        try:
            runs = self._read_log(options.log)
        except OSError as error:
            sys.stderr.write(f"log '{options.log}' cannot be read: {error.strerror}\n")
            return UNREADABLE
        if not runs:
            sys.stderr.write(f"log '{options.log}' has no table of {self.benchmark}; {self.who}\n")
            return FAILED
        if options.csv:
            self.write_csv(runs, sys.stdout)
        elif options.json:
            self.write_json(runs, sys.stdout, options.min_busbw)
        failed = any(run.problems(options.min_busbw) for run in runs)
        if failed or not (options.csv or options.json):
            output = sys.stderr if options.csv or options.json else sys.stdout
            output.writelines(f"{line}\n" for line in self.summary(runs, options.min_busbw))
        return FAILED if failed else PASSED

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(
            prog=f"python -m {self.module}",
            description=self.description,
            epilog="Exit code 0: every run passed. 1: a run failed, or the log has none. 2: the log cannot be read.",
        )
        parser.add_argument("log", help="the log; - for standard input")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--csv", action="store_true", help="write the rows as CSV to standard output")
        form.add_argument(
            "--json", action="store_true", help="write runs and rows as JSON to standard output"
        )
        parser.add_argument(
            "--min-busbw",
            type=float,
            metavar="GB_PER_S",
            help="a run passes only if a row has this bus bandwidth at least; by default it is not judged",
        )
        return parser

    def _read_log(self, name: str) -> list[R]:
        if name == "-":
            return self.read(sys.stdin)
        with Path(name).open(encoding="utf-8", errors="replace") as log:
            return self.read(log)


def finite(value: object) -> object:
    """Return a value with None in place of numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def highest(values: Iterable[float]) -> float:
    """Return the highest finite value; 0 where there is none."""
    return max((value for value in values if math.isfinite(value)), default=0.0)


def too_slow(peak: float, least: float | None, unit: str = "GB/s") -> Iterator[str]:
    """Yield that a run's peak bus bandwidth is below the least that was asked for."""
    if least is not None and peak < least:
        yield f"the peak bus bandwidth, {peak:g} {unit}, is below {least:g} {unit}"
