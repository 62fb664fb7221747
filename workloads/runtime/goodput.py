"""The time of a run by activity, over all of its starts: what advanced the model, and what was lost and to what.

The guard that writes the run's metrics adds up time from the phases of its first rank (training/heartbeat.py) and from
the metric `step` of the lines of progress. A program without heartbeats starts until its first line and trains after
it. Training counts when a line reports it: as `advance` where no start before had come that far, as `repeat` where the
steps are done again after a restart. What no line has reported when a start ends is `advance` after exit code 0, and
`stall` otherwise: it is lost. `wait` is the time between the end of a start and the next one, by the nodes' clocks.

`goodput.json` in the run's folder keeps it, so that a later start continues to count, and the exporter of runs reads it
(programs/exporters/runs).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = "goodput.json"

ACTIVITIES = ("advance", "repeat", "start", "checkpoint", "other", "stall", "wait")
"""The activities: together they are the time from the first start to the last line of progress."""

_TRAIN = "train"
_PHASES: Mapping[str, str] = {
    "start": "start",
    "resume": "start",
    "restore": "start",
    "checkpoint": "checkpoint",
}
"""Activities of a rank's phases other than training; any other phase, such as a validation, is `other`."""


class Goodput:
    """The seconds of each activity of a run, of which this is another start; `clock` tells seconds since 1970."""

    def __init__(self, folder: Path, job: str, clock: Callable[[], float]) -> None:
        self._path = folder / FILE
        self._job = job
        self._clock = clock
        self._now = clock()
        before = _read(self._path)
        seconds = before.get("seconds", {})
        self.seconds = {name: float(seconds.get(name, 0.0)) for name in ACTIVITIES}
        self.starts = int(before.get("starts", 0)) + 1
        self._highest = float(before.get("step", -math.inf))
        if before:
            # A start that was killed has decided on nothing.
            self.seconds["stall"] += float(before.get("unreported", 0.0))
            self.seconds["wait"] += max(0.0, self._now - float(before["time"]))
        self._step = -math.inf
        self._lines = 0
        self._process: object = None
        self._phases: Mapping[str, float] = {}
        self._unreported = 0.0

    def look(self, lines: int, step: float | None, ranks: Sequence[Mapping[str, Any]]) -> None:
        """Add the time since the last look.

        `lines` is the number of lines of progress so far, `step` the metric of the last one, `ranks` the heartbeat
        records of the node.
        """
        now = self._clock()
        passed, self._now = max(0.0, now - self._now), now
        shares = self._shares(lines, ranks)
        for activity, share in shares.items():
            if activity == _TRAIN:
                self._unreported += passed * share
            else:
                self.seconds[activity] += passed * share
        if lines > self._lines:
            self._lines = lines
            self._report(step)

    def close(self, code: int) -> None:
        """Decide on what no line has reported, when the program has ended with an exit code."""
        self.seconds["stall" if code else "advance"] += self._unreported
        self._unreported = 0.0

    def write(self) -> None:
        """Replace the file; a full file system is not to end a run that trains."""
        highest = max(self._highest, self._step)
        content = {
            "job": self._job,
            "starts": self.starts,
            "time": round(self._now, 3),
            "unreported": round(self._unreported, 3),
            # Without what no line has reported: counters must not fall, and it may be any of three activities.
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            **({"step": highest} if math.isfinite(highest) else {}),
        }
        temporary = self._path.with_name(f".{FILE}.{os.getpid()}")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(content), encoding="utf-8")
            # The exporter reads it, as a user of its own.
            temporary.chmod(0o644)
            os.replace(temporary, self._path)

    def _shares(self, lines: int, ranks: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return the share of each activity in the time since the last look; training is one of them here."""
        timed = [rank for rank in ranks if rank.get("seconds")]
        if not timed:
            return {_TRAIN if lines or self._lines else "start": 1.0}
        first = timed[0]
        before = self._phases if self._process == first["process"] else {}
        spent = {
            phase: max(0.0, float(value) - before.get(phase, 0.0))
            for phase, value in first["seconds"].items()
        }
        self._process, self._phases = first["process"], dict(first["seconds"])
        total = sum(spent.values())
        if not total:
            # It beats once a second, and this look came before: what it does now decides.
            return {_activity(first["phase"]): 1.0}
        shares: dict[str, float] = {}
        for phase, value in spent.items():
            activity = _activity(phase)
            shares[activity] = shares.get(activity, 0.0) + value / total
        return shares

    def _report(self, step: float | None) -> None:
        """Count training up to a line of progress. A step that was done before is repeated, a share of several too."""
        seconds, self._unreported = self._unreported, 0.0
        if step is None or not math.isfinite(step):
            self.seconds["advance"] += seconds
            return
        begun = self._step if math.isfinite(self._step) else min(step, self._highest)
        self._step = step
        advanced = 1.0
        if step <= self._highest:
            advanced = 0.0
        elif math.isfinite(begun) and begun < self._highest:
            advanced = (step - self._highest) / (step - begun)
        self.seconds["advance"] += seconds * advanced
        self.seconds["repeat"] += seconds * (1.0 - advanced)


def _activity(phase: str) -> str:
    return phase if phase == _TRAIN else _PHASES.get(phase, "other")


def _read(path: Path) -> dict[str, Any]:
    """Return what an earlier start has left; nothing where there is none, or where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {**found, "time": float(found["time"])} if isinstance(found, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def job_of(environment: Mapping[str, str]) -> str:
    """Return the scheduler's number of the job that a process runs in; empty where there is none."""
    return environment.get("SLURM_JOB_ID") or environment.get("AWS_BATCH_JOB_ID", "").partition("#")[0]
