"""The runs of the fleet: folders as launch guards write them, minute by minute, and what the exporter of runs tells.

The guard's own modules write, and the exporter itself reads: what a dashboard shows between two starts of a run is what
it would show of a real one. The exporter keeps the last values of a run for a quarter of an hour after it last wrote.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from programs.exporters.runs.exporter import RunsExporter
from tests.exporters import run_folders

STALL_SECONDS = 240.0
"""The time without progress after which the guard of these runs ends them."""

_STEPS = 6
"""Steps in a minute."""

_OF_THIS_MACHINE = {"trainforge_progress_timestamp_seconds", "trainforge_runs_scrape_seconds"}
"""Metrics of the time that the fleet's series are made at."""

Values = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run: its nodes with `ranks` ranks each, and what happens in it, in minutes.

    From `hangs` on no step ends, the guard ends the start after STALL_SECONDS, and the next start begins at `back`,
    `loads` for three minutes, and resumes `lost` steps behind. `metrics` are those of its lines in a minute, `saves`
    the seconds of checkpoints in it, `work` the seconds in which a rank of a node waits for no other.
    """

    cluster: str
    workload: str
    run: str
    job: str
    nodes: Sequence[str]
    ranks: int
    metrics: Callable[[int], Values]
    saves: Callable[[int], float]
    step_seconds: Callable[[int, int], float]
    work: Callable[[int, int], float]
    hangs: int | None = None
    back: int = 0
    loads: int = 3
    lost: int = 30


class Guard:
    """The launch guards of a run, which write its folder; `clock` of a minute is `begin + 60 * minute`."""

    def __init__(self, plan: Plan, runs: Path, begin: float) -> None:
        self.plan = plan
        self.folder = runs / plan.workload / plan.run
        self._watch = self.folder / "watch"
        self._watch.mkdir(parents=True)
        self._begin = begin
        self._now = begin
        self._step = 0
        self._start(0, step=1000)

    def write(self, minute: int) -> None:
        """Do what a minute brings, and write what the guards write at its end."""
        plan = self.plan
        self._now = self._begin + 60 * minute
        if plan.hangs is not None and plan.hangs <= minute < plan.back:
            quiet = 60.0 * (minute - plan.hangs + 1)
            if quiet <= STALL_SECONDS:
                self._spend(train=60)
                self._tell(minute, quiet)
                if quiet == STALL_SECONDS:
                    self._end()
            return
        if plan.hangs is not None and minute == plan.back:
            self._start(minute, step=self._step - plan.lost)
        if plan.hangs is not None and plan.back <= minute < plan.back + plan.loads:
            self._spend(start=60)
        else:
            saves = plan.saves(minute)
            self._spend(train=60 - saves, checkpoint=saves)
            self._step += _STEPS
            self._done += _STEPS
            self._metrics.take({"step": float(self._step), **plan.metrics(minute)})
        self._tell(minute, 0.0)

    def _start(self, minute: int, step: int) -> None:
        self._step, self._done, self._begun = step, 0, self._begin + 60 * minute
        self._metrics = run_folders.Metrics()
        self._phases: dict[str, float] = {}
        self._now = self._begun
        self._goodput = run_folders.Goodput(self.folder, self.plan.job, lambda: self._now)

    def _end(self) -> None:
        self._goodput.close(1)
        self._goodput.write()
        self._write(self._watch / "stall.json", {})
        self._stamp(self.folder)

    def _spend(self, **seconds: float) -> None:
        for phase, spent in seconds.items():
            self._phases[phase] = self._phases.get(phase, 0.0) + spent

    def _tell(self, minute: int, quiet: float) -> None:
        """Write what a guard writes each few seconds: metrics, the time by activity, the record of each node."""
        plan = self.plan
        self._metrics.write(self.folder, plan.run)
        of_ranks = [self._ranks(minute, node) for node in range(len(plan.nodes))]
        self._goodput.look(self._metrics.lines, self._metrics.last.get("step"), of_ranks[0])
        self._goodput.write()
        for node, host in enumerate(plan.nodes):
            known = {"begun": self._begun, "seconds": quiet, "limit": STALL_SECONDS}
            record = {"host": host, "ranks": of_ranks[node], **({} if node else {"quiet": known})}
            self._write(self._watch / f"node-{node}.json", record)
        self._stamp(self.folder)

    def _ranks(self, minute: int, node: int) -> list[dict[str, Any]]:
        plan = self.plan
        trains = self._done > 0
        return [
            {
                "rank": node * plan.ranks + local,
                "process": self._begun,
                "steps": self._done,
                "step_seconds": plan.step_seconds(minute, node) if trains else None,
                "work_seconds": plan.work(minute, node) if trains else None,
                "phase": "train" if trains else "start",
                "seconds": self._phases,
            }
            for local in range(plan.ranks)
        ]

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        path.write_text(json.dumps(content), encoding="utf-8")
        self._stamp(path)

    def _stamp(self, path: Path) -> None:
        os.utime(path, (self._now, self._now))


def told(
    plans: Sequence[Plan], folder: Path, minutes: int
) -> Iterator[tuple[int, str, str, Mapping[str, str], float]]:
    """Yield what the exporter of each cluster tells of its runs: minute, cluster, name, labels and value.

    A time is told in seconds since minute 0. What the clock of this machine tells is left out.
    """
    # A file cannot be as old as 1970.
    begin = 1e9
    clusters = {plan.cluster: folder / plan.cluster for plan in plans}
    guards = [Guard(plan, clusters[plan.cluster], begin) for plan in plans]
    now = begin
    exporters = {name: RunsExporter(runs, clock=lambda: now) for name, runs in clusters.items()}
    for minute in range(minutes):
        now = begin + 60 * minute
        for guard in guards:
            guard.write(minute)
        for cluster, exporter in exporters.items():
            for family in exporter.collect():
                for sample in family.samples:
                    if sample.name in _OF_THIS_MACHINE:
                        continue
                    since = begin if sample.name.endswith("_timestamp_seconds") else 0.0
                    yield minute, cluster, sample.name, sample.labels, sample.value - since
