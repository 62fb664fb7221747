"""The history of series that rules read: samples as old as the longest range over which a rule reads the series."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from observability.alerts import GROUPS
from observability.alerts.rules import Record
from tests.fleet.prometheus import write_blocks
from tests.ports import LOOPBACK

SCRAPE_SECONDS: Final = 30
"""Between two samples of a series that is scraped: the default of `scrape_seconds`."""

LOOK_BACK_SECONDS: Final = 300
"""The time for which Prometheus takes a sample as the value of a series."""

AHEAD_SECONDS: Final = 240
"""Lead of the newest samples over the clock at the beginning, so that ranges are full at each evaluation.

Less than LOOK_BACK_SECONDS, by which the oldest samples are older than a range. Prometheus takes ten minutes.
"""

BEGIN: Final = -1e9
"""A value from which on values are seconds since 1970: it stands for the time of the first sample."""

RECENT_SECONDS: Final = 2700
"""Age of the oldest samples in memory: Prometheus takes none that is an hour older than its newest."""

_BLOCK_SECONDS = 7200
"""The range of a block of Prometheus before it joins some."""

_CHUNK_SECONDS = 1800
"""Samples before the one that is read at an offset: a chunk is read from its begin, here half of one."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SERIES = r"([a-zA-Z_:][\w:]*)(?:\{[^{}]*\})?"
RANGE = re.compile(_SERIES + r"\[(\d+)([smhd])\]")
OFFSET = re.compile(_SERIES + r" offset (\d+)([smhd])\b")


@dataclass(frozen=True, slots=True)
class Sampled:
    """A series: its name, its labels as Prometheus writes them, its first value, and how much each sample adds."""

    name: str
    labels: str
    value: float = 0.0
    growth: float = 0.0


def ranges() -> Mapping[str, int]:
    """Return the longest range in seconds over which a rule reads a series, by its name."""
    return _longest(RANGE)


def offsets() -> Mapping[str, int]:
    """Return the longest offset in seconds at which a rule reads a series, by its name."""
    return _longest(OFFSET)


@lru_cache
def _intervals() -> Mapping[str, int]:
    """Return the seconds between two samples of each recorded series."""
    return {
        rule.name: int(group.interval[:-1]) * _SECONDS[group.interval[-1]]
        for group in GROUPS
        for rule in group.rules
        if isinstance(rule, Record)
    }


@lru_cache
def _longest(pattern: re.Pattern[str]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for group in GROUPS:
        for rule in group.rules:
            for name, count, unit in pattern.findall(rule.expr):
                found[name] = max(found.get(name, 0), int(count) * _SECONDS[unit])
    return found


@lru_cache
def ages(name: str) -> Sequence[int]:
    """Return the ages in seconds at which a series has samples, oldest first: as far as rules look back, no further.

    Rules record their own series from the beginning on.
    """
    step = _intervals().get(name, SCRAPE_SECONDS)
    spans = [(ranges().get(name, 0) + LOOK_BACK_SECONDS, AHEAD_SECONDS if name in _intervals() else 0)]
    if name in offsets():
        spans.append((offsets()[name] + _CHUNK_SECONDS, offsets()[name] - LOOK_BACK_SECONDS))
    found = {age for oldest, newest in spans for age in range(oldest // step * step, newest - 1, -step)}
    return sorted(found, reverse=True)


@dataclass(frozen=True)
class _Part:
    """The samples of series from one time on to before another, in seconds since 1970."""

    series: Mapping[str, Sequence[Sampled]]
    begin: float
    before: float

    def lines(self, end: float) -> Iterator[str]:
        """Yield OpenMetrics lines with a time in seconds; a sample of age 0 is at `end`, in seconds since 1970."""
        yield from self.samples(end, "")
        yield "# EOF\n"

    def samples(self, end: float, more: str) -> Iterator[str]:
        """Yield lines with the time in seconds and `more` digits."""
        for name, found in self.series.items():
            moments = [(index, end - age) for index, age in enumerate(ages(name))]
            first = moments[0][1]
            times = [
                (index, f" {moment:.0f}{more}\n")
                for index, moment in moments
                if self.begin <= moment < self.before
            ]
            for one in found if times else ():
                text = f"{name}{{{one.labels}}} "
                value = one.value - BEGIN + first if one.value <= BEGIN else one.value
                yield "".join(f"{text}{value + one.growth * index:.12g}{time}" for index, time in times)


def write_old(promtool: str, series: Mapping[str, Sequence[Sampled]], end: float, folder: Path) -> None:
    """Write the samples that are older than RECENT_SECONDS into the folder of a Prometheus, block by block.

    promtool reads its input once for each block: a file for each saves most of that time.
    """
    before = end - RECENT_SECONDS
    begin = (end - max(ages(name)[0] for name in series)) // _BLOCK_SECONDS * _BLOCK_SECONDS
    while begin < before:
        part = _Part(series, begin, min(begin + _BLOCK_SECONDS, before))
        write_blocks(promtool, part, end, folder)
        begin += _BLOCK_SECONDS


class Exporters(ThreadingHTTPServer):
    """Exporters of a fleet that answer once, with the samples of RECENT_SECONDS and their times, and then nothing.

    So Prometheus has them in memory, as those of the last hours that it scrapes.
    """

    daemon_threads = True

    def __init__(self, series: Mapping[str, Sequence[Sampled]], count: int) -> None:
        """Divide the series among a number of exporters."""
        super().__init__((LOOPBACK, 0), _Handler)
        self._parts: dict[str, Mapping[str, Sequence[Sampled]]] = {
            f"/{number}": {name: found[number::count] for name, found in series.items()}
            for number in range(count)
        }
        self.paths = tuple(self._parts)
        self.end = (time.time() + AHEAD_SECONDS) // SCRAPE_SECONDS * SCRAPE_SECONDS

    def text(self, path: str) -> str:
        """Return the answer of an exporter, in Prometheus' text format, with times in milliseconds."""
        part = _Part(self._parts.pop(path, {}), self.end - RECENT_SECONDS, math.inf)
        return "".join(part.samples(self.end, "000"))

    @property
    def left(self) -> int:
        """The number of those that have not answered yet."""
        return len(self._parts)

    def scrape(self, seconds: int) -> dict[str, Any]:
        """Return the configuration of a scrape of all of them."""
        address, name = f"{LOOPBACK}:{self.server_address[1]}", "fleet"
        return {
            "job_name": name,
            "honor_labels": True,
            "scrape_interval": f"{seconds}s",
            "scrape_timeout": f"{seconds}s",
            "static_configs": [
                {"targets": [address], "labels": {"__metrics_path__": path}} for path in self.paths
            ],
            # Recorded series have no such labels, and a scrape adds its own.
            "metric_relabel_configs": [
                {"source_labels": ["job"], "regex": name, "target_label": label, "replacement": ""}
                for label in ("instance", "job")
            ],
        }


class _Handler(BaseHTTPRequestHandler):
    server: Exporters

    def do_GET(self) -> None:
        """Answer a scrape."""
        text = self.server.text(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def exporters(series: Mapping[str, Sequence[Sampled]], count: int) -> Iterator[Exporters]:
    """Serve the recent samples of series as that of a number of exporters."""
    with Exporters(series, count) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
