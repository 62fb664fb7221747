"""Reader of nccom-test's logs: rows to CSV or JSON, and the verdict on every table.

    python -m workloads.nccom_tests.results LOG [--csv | --json] [--min-busbw GB_PER_S]

A line may have any prefix, as srun, mpirun and kubectl write. A log may hold several tables. The tool has printed its
table in two forms: `time(us)`, whole microseconds, and `time:avg(us)` with decimals, beside which `--stats` and
`--show-...` put more columns. The page of the tool says that both bandwidths are in GiB/s, and so they were; tables of
its newer versions are in GB/s by their own sizes and times. So the reader computes the unit of a table from its rows,
and gives all bandwidths in GB/s (10^9 bytes).

A table passes if it has rows, ends with the average, and no row and no line reports a failure.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from workloads.collective_results import Reader, highest, too_slow

GIB_PER_GB = 1.073741824
"""The bytes of a GiB, in GB."""

_HEADER = re.compile(r"(?:^|\s)(size\(B\)\s+count\(elems\).*busbw\(GB/s\).*?)\s*$")
_SIZE = re.compile(r"(?<![\w.])(?P<size>\d+)\s+(?P<rest>\d+\s.*)$")
_FAILED_ROW = re.compile(r"(?<![\w.])(?P<size>\d+)\s+(?P<problem>Failure running .*\S)")
_AVERAGE = re.compile(r"Avg bus bandwidth:\s+(?P<value>[\d.]+)\s*GB/s")
_ERRORS = (
    re.compile(r"\d+ errors? found - test failed"),
    re.compile(r"Neuron DKMS Driver is not running!?"),
)

_ENOUGH = 1.0
"""The bandwidth from which two decimals tell GB from GiB."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table, its bandwidths as printed; `times` are microseconds by statistic (`avg`, `p50`)."""

    size_bytes: int
    count: int
    type: str
    times: dict[str, float]
    algbw: float
    busbw: float
    algorithm: str = ""

    @property
    def time_us(self) -> float:
        """The mean of the operation's time, or the first statistic that the table has."""
        return self.times.get("avg", next(iter(self.times.values())))

    @property
    def is_gib(self) -> bool | None:
        """True where the bandwidth is in GiB/s, by size and time; None where it is too small to tell."""
        if self.algbw < _ENOUGH or not self.time_us:
            return None
        gb = self.size_bytes / self.time_us / 1e3
        return abs(self.algbw - gb / GIB_PER_GB) < abs(self.algbw - gb)


@dataclass(slots=True)
class Table:
    """A table of nccom-test, as far as the log has it. `average` is the program's own figure, as printed."""

    columns: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    average: float | None = None
    errors: list[str] = field(default_factory=list)

    @property
    def unit(self) -> str:
        """The unit of the printed bandwidths, `GB/s` or `GiB/s`; empty where no row is large enough to tell."""
        known = [row.is_gib for row in self.rows if row.is_gib is not None]
        return "" if not known else "GiB/s" if sum(known) * 2 > len(known) else "GB/s"

    @property
    def factor(self) -> float:
        """The GB/s of a printed unit of bandwidth."""
        return GIB_PER_GB if self.unit == "GiB/s" else 1.0

    @property
    def title(self) -> str:
        """The measurement: sizes, types, and the unit that is printed."""
        types = ", ".join(dict.fromkeys(row.type for row in self.rows)) or "unknown type"
        return f"nccom-test, {len(self.rows)} sizes of {types}, printed in {self.unit or 'an unknown unit'}"

    @property
    def average_busbw(self) -> float | None:
        """The program's own mean in GB/s; None: the log ends before it."""
        return None if self.average is None else self.average * self.factor

    @property
    def peak_busbw(self) -> float:
        """The highest bus bandwidth of a row in GB/s; 0 without rows."""
        return highest(row.busbw for row in self.rows) * self.factor

    def by_size(self) -> dict[int, float]:
        """Return the bus bandwidth in GB/s of each size in bytes, whatever the unit is that was printed."""
        return {row.size_bytes: row.busbw * self.factor for row in self.rows}

    def problems(self, min_busbw: float | None = None) -> list[str]:
        """Return why the table did not pass; empty where it did. `min_busbw` is the least peak bus bandwidth."""
        reasons = list(self.errors)
        if not self.rows:
            reasons.append("it has no rows")
        if self.average is None:
            last = f" after {self.rows[-1].size_bytes} bytes" if self.rows else ""
            reasons.append(f"the log ends{last} without the average that the program writes last")
        if self.rows:
            reasons.extend(too_slow(self.peak_busbw, min_busbw))
        return reasons

    def document(self) -> dict[str, Any]:
        """Return the table as JSON has it."""
        return {
            "printed_unit": self.unit,
            "average_busbw_gb_per_s": self.average_busbw,
            "peak_busbw_gb_per_s": self.peak_busbw,
            "rows": [self._document(row) for row in self.rows],
        }

    def lines(self) -> Iterator[list[object]]:
        """Yield a line of CSV for each row."""
        for row in self.rows:
            measured = (row.time_us, row.algbw * self.factor, row.busbw * self.factor)
            yield [self.unit, row.size_bytes, row.count, row.type, *measured, row.algorithm]

    def _document(self, row: Row) -> dict[str, Any]:
        values = asdict(row)
        for name in ("algbw", "busbw"):
            values[f"{name}_gb_per_s"] = values.pop(name) * self.factor
        return {"time_us": row.time_us, **values}


def read(lines: Iterable[str]) -> list[Table]:
    """Return the tables of a log, in its order."""
    tables: list[Table] = []
    before: list[str] = []
    for line in lines:
        if match := _HEADER.search(line):
            tables.append(Table(columns=tuple(match[1].split())))
            tables[-1].errors += before
            before.clear()
            continue
        problem = next((match[0] for pattern in _ERRORS if (match := pattern.search(line))), "")
        if problem:
            (tables[-1].errors if tables else before).append(problem)
        elif tables:
            _take(tables[-1], line)
    if before:
        # It failed at once, before a table.
        tables.append(Table(errors=before))
    return tables


def _take(table: Table, line: str) -> None:
    """Take in a line below the table's header."""
    if match := _AVERAGE.search(line):
        table.average = float(match["value"])
    elif match := _FAILED_ROW.search(line):
        table.errors.append(f"{match['size']} bytes: {match['problem']}")
    elif table.average is None and (match := _SIZE.search(line)):
        row = _row(table.columns, [match["size"], *match["rest"].split()])
        if row is not None:
            table.rows.append(row)
        elif len(match["rest"].split()) >= len(table.columns) - 2 or line.rstrip().endswith(match["size"]):
            table.errors.append(f"a row is cut or mixed with other output: '{line.strip()}'")


def _row(columns: Sequence[str], values: Sequence[str]) -> Row | None:
    """Return the row of a table with these columns; None where the values do not fit."""
    if len(values) != len(columns):
        return None
    named = dict(zip(columns, values, strict=True))
    try:
        times = {
            (column.removeprefix("time").removesuffix("(us)").lstrip(":") or "avg"): float(value)
            for column, value in named.items()
            if column.startswith("time")
        }
        return Row(
            size_bytes=int(named["size(B)"]),
            count=int(named["count(elems)"]),
            type=named["type"],
            times=times,
            algbw=float(named["algbw(GB/s)"]),
            busbw=float(named["busbw(GB/s)"]),
            algorithm=named.get("algorithm", ""),
        )
    except (KeyError, ValueError):
        return None


READER = Reader(
    module="workloads.nccom_tests.results",
    benchmark="nccom-test",
    description="Read a log of nccom-test: its rows, and whether every table is whole.",
    read=read,
    columns=(
        *("printed_unit", "size_bytes", "count", "type"),
        *("time_us", "algbw_gb_per_s", "busbw_gb_per_s", "algorithm"),
    ),
)


def main(words: Sequence[str] | None = None) -> int:
    """Read the log that the command line names, write what it asks for, and return the exit code."""
    return READER.main(words)


if __name__ == "__main__":
    sys.exit(main())
