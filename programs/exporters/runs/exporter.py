"""The exporter of a cluster's runs on a node that mounts the shared file system: one per cluster, or hosts of Batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.core import Metric

from ..records import Samples, read
from ..server import parser, positive, serve
from .folders import Reader, RunFolder, is_number

RECENT_SECONDS, MAX_RUNS, MAX_RANKS = 900, 100, 4096
"""Defaults: for how long a run is exported after it last wrote, how many runs, and how many ranks of all of them.

Our choice. A guard writes every five seconds; a restart by a scheduler takes minutes. 4,096 ranks are 512 nodes of
eight GPUs, with three series each.
"""

_ACTIVITIES = ("advance", "repeat", "start", "checkpoint", "other", "stall", "wait")


class RunsExporter:
    """The metrics of the runs below a folder that wrote within `recent` seconds: of all, or of those in `claims`."""

    def __init__(
        self,
        runs: Path,
        *,
        claims: Path | None = None,
        recent: float = RECENT_SECONDS,
        max_runs: int = MAX_RUNS,
        max_ranks: int = MAX_RANKS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._runs = runs
        self._claims = claims
        self._recent = recent
        self._max_runs = max_runs
        self._max_ranks = max_ranks
        self._clock = clock
        self._records = read("runs")

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of one scrape."""
        begun = time.perf_counter()
        samples, reader = Samples(self._records), Reader(self._runs, self._claims)
        alive = reader.alive(self._clock() - self._recent)
        left = self._max_ranks
        left_out = 0
        for run in alive[: self._max_runs]:
            ranks = self._add(samples, reader, run, left)
            left_out += max(0, ranks - left)
            left = max(0, left - ranks)
        samples.add("trainforge_runs", min(len(alive), self._max_runs))
        samples.add("trainforge_runs_left_out", max(0, len(alive) - self._max_runs))
        samples.add("trainforge_ranks_left_out", left_out)
        samples.add("trainforge_runs_unreadable_files", reader.unreadable)
        samples.add("trainforge_runs_scrape_seconds", time.perf_counter() - begun)
        yield from samples.families()

    def _add(self, samples: Samples, reader: Reader, run: RunFolder, max_ranks: int) -> int:
        """Add a run's samples, with those of `max_ranks` ranks at most, and return the number of its ranks."""
        labels = (run.id, run.workload)
        for name, value in reader.progress(run).items():
            # A metric that a workload of a user's own describes has no record, and is not exported.
            if name in samples:
                samples.add(name, value, labels)
        goodput = reader.goodput(run)
        samples.add("trainforge_run_info", 1, (*labels, str(goodput.get("job", ""))))
        if goodput:
            samples.add("trainforge_run_starts_total", float(goodput.get("starts", 0)), labels)
            for activity in _ACTIVITIES:
                seconds = float(goodput["seconds"].get(activity, 0.0))
                samples.add("trainforge_run_seconds_total", seconds, (*labels, activity))
        nodes = ranks = 0
        last, ended = 0.0, False
        quiet: list[tuple[float, Mapping[str, float]]] = []
        for written, record in reader.nodes(run):
            # Another node's guard of an earlier, larger start may have left its record.
            if written < run.written - self._recent:
                continue
            nodes += 1
            host = record["host"]
            if found := _quiet(record):
                quiet.append((written, found))
            if written >= last:
                last, ended = written, record.get("ended") is True
            # A node that has ended is not silent.
            if record.get("ended") is not True and nodes <= self._max_ranks:
                samples.add("trainforge_rank_beat_timestamp_seconds", written, (*labels, host))
            for rank in record["ranks"]:
                ranks += 1
                if ranks <= max_ranks:
                    _add_rank(samples, (*labels, host), rank)
        if nodes:
            samples.add("trainforge_run_ended", int(ended), labels)
        if quiet:
            begun = max(each["begun"] for _, each in quiet)
            # What was written before this start began is of an earlier one.
            of_start = [each for written, each in quiet if written >= begun or each["begun"] == begun]
            longest = max(of_start, key=lambda each: each["seconds"])
            samples.add("trainforge_run_attempt_timestamp_seconds", begun, labels)
            samples.add("trainforge_run_quiet_seconds", longest["seconds"], labels)
            samples.add("trainforge_run_quiet_limit_seconds", longest["limit"], labels)
        stalled = reader.stalled(run)
        if stalled is not None:
            samples.add("trainforge_run_stall_timestamp_seconds", stalled, labels)
        samples.add("trainforge_run_nodes", nodes, labels)
        return ranks


def _quiet(record: Mapping[str, Any]) -> Mapping[str, float]:
    """Return the time without progress that a guard has written; nothing where it has written none."""
    found = record.get("quiet")
    names = ("begun", "seconds", "limit")
    if not isinstance(found, dict) or not all(is_number(found.get(name)) for name in names):
        return {}
    return {name: float(found[name]) for name in names}


def _add_rank(samples: Samples, labels: Sequence[str], rank: Mapping[str, Any]) -> None:
    steps = rank.get("steps")
    place = (*labels, str(rank.get("rank", "")))
    if isinstance(steps, int):
        samples.add("trainforge_rank_steps_total", steps, place)
    for name in ("step_seconds", "work_seconds"):
        seconds = rank.get(name)
        if isinstance(seconds, (int, float)):
            samples.add(f"trainforge_rank_{name}", seconds, place)


def main(words: Sequence[str]) -> int:
    """Run the exporter with these words of a command line, and return its exit code."""
    options = parser("export the progress of a cluster's runs")
    options.add_argument(
        "--runs", type=Path, required=True, help="the folder `runs` of the shared file system"
    )
    options.add_argument(
        "--claims",
        type=Path,
        help="a folder of this host: export the runs alone whose node 0 has written there that it is here",
    )
    options.add_argument(
        "--recent-seconds",
        type=positive,
        default=RECENT_SECONDS,
        help="for how long a run is exported after it last wrote",
    )
    options.add_argument(
        "--max-runs", type=positive, default=MAX_RUNS, help="runs at most, the last to write"
    )
    options.add_argument("--max-ranks", type=positive, default=MAX_RANKS, help="ranks of all runs at most")
    found = options.parse_args(list(words))
    exporter = RunsExporter(
        found.runs,
        claims=found.claims,
        recent=found.recent_seconds,
        max_runs=found.max_runs,
        max_ranks=found.max_ranks,
    )
    return serve(found, exporter.collect)
