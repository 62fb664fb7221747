"""The watch over a run's progress: a run without progress is reported and ended on all of its nodes.

Every guard writes what is known of its node to `watch/node-K.json` of the run's folder. Node 0's guard reads all of
them and decides; the others follow its decision, in `watch/stall.json`, and end their node when node 0's guard is
silent itself. Each writes its node's stacks and flight recorders to `stalls/<time>` first; nobody kills before node 0's
guard has heard that all are done, because one dead rank ends the others within seconds.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import batch_host
import stall_report
from goodput import Goodput
from program import Command
from progress_metrics import Metrics
from run_progress import Allowed, Record, RunProgress

LOST_SECONDS = 60.0
"""For how long node 0's guard may be silent before the others decide themselves, at most: our choice."""

REPORT_SECONDS = 90.0
"""Seconds that all nodes together may take to write their reports: longer than stall_report takes for a node."""

LEAVE_SECONDS = 20.0
"""Seconds that the guard that ended the run waits for the others to leave: our choice."""

CLOCKS_SECONDS = 60.0
"""Seconds by which the clocks of nodes and of the file system may differ: our choice."""

FOLDER, STALLS, LOGS = "watch", "stalls", "nccl"
"""Folders of the run's folder: what the guards tell each other, the reports of runs without progress, NCCL's files."""

_MAX_PAUSE, _MIN_PAUSE = 5.0, 0.2
_SILENT_BEATS = 6
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Place:
    """The place of a guard: its number of `guards`, its host, the run's folder, the folder of its node's heartbeats.

    `job` is the scheduler's number of the job, if it has one, and `claims` the folder in which a host of Batch is told
    of the runs that begin on it (batch_host).
    """

    node: int
    guards: int
    host: str
    run_folder: Path
    heartbeats: Path
    job: str = ""
    claims: Path | None = None


class ProgressWatch(threading.Thread):
    """Watches the run's progress while the program runs; `stalled` is true if it ended the run.

    One guard `writes` the last metrics of the program's lines, and the run's time by activity, to the run's folder.
    """

    def __init__(
        self,
        command: Command,
        place: Place,
        allowed: Allowed,
        path: str,
        say: Callable[[str], None],
        metrics: Metrics,
        *,
        writes: bool,
    ) -> None:
        super().__init__(name="progress-watch", daemon=True)
        self._command = command
        self._place = place
        self._path = path
        self._say = say
        self._metrics = metrics
        self._writes = writes
        self._folder = place.run_folder / FOLDER
        self._pause = min(_MAX_PAUSE, max(_MIN_PAUSE, allowed.stall / 4))
        watched = range(place.guards) if place.node == 0 else sorted({0, place.node})
        self._progress = RunProgress(watched, allowed, time.monotonic())
        self._patience = min(LOST_SECONDS, 4 * allowed.stall) + _SILENT_BEATS * self._pause
        self._start = secrets.token_hex(8)
        self._beat = 0
        self._ranks: list[dict[str, Any]] = []
        self._dumped = ""
        self._earlier = ""
        self._leads = False
        self._goodput: Goodput | None = None
        self._begun = time.time()
        self._stall: dict[str, float] = {}
        self.stalled = False

    def prepare(self) -> None:
        """Make the folder, and record the files that an earlier start has left there.

        Raises:
            OSError: the run's folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open_to_exporter()
        self._earlier = self._decision().get("stall", "")
        if self._writes:
            self._goodput = Goodput(self._place.run_folder, self._place.job, time.time)
        self._publish()
        if self._place.claims and self._place.node == 0:
            batch_host.claim(self._place.claims, self._place.run_folder, self._start)

    def run(self) -> None:
        """Watch until the program ends."""
        while not self._command.ended.wait(self._pause):
            self._ranks = stall_report.heartbeats(self._place.heartbeats)
            self._publish()
            now = time.monotonic()
            self._progress.look(now, self._records())
            decided = self._decide(now) if self._place.node == 0 else self._follow(now)
            if decided:
                self.stalled = True
                # Kept to the end: nodes that end look like progress.
                self._stall = {"seconds": decided["silence"], "limit": decided["limit"]}
                self._end(decided)
                return

    def close(self, code: int) -> None:
        """Record the program's end, with its exit code: a node that has ended is not silent.

        The reason of its end is reported before.

        The guard that ended the run leaves last. A scheduler that sees one node fail ends the others by signals, and
        those would then have another exit code.
        """
        self.join()
        if not self.stalled:
            self._ranks = stall_report.heartbeats(self._place.heartbeats)
        self._publish(ended=True)
        if self._goodput:
            self._goodput.close(code or int(self.stalled))
            self._goodput.write()
        if self._leads:
            deadline = time.monotonic() + LEAVE_SECONDS
            while not self._others_ended() and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            # They report their end just before it.
            time.sleep(1)

    def _others_ended(self) -> bool:
        """Return whether the guards of all other reachable nodes have reported their end."""
        now = time.monotonic()
        self._progress.look(now, self._records())
        silent = self._progress.silent(now, _SILENT_BEATS * self._pause)
        others = [node for node in self._progress.last_seen if node not in (*silent, self._place.node)]
        return all(self._progress.records[node]["ended"] for node in others)

    def _decide(self, now: float) -> Mapping[str, Any]:
        """Return the decision to end the run, or nothing; node 0 alone decides."""
        silence = self._progress.silence(now)
        if silence is None:
            return {}
        decided = self._decided(silence)
        self._write("stall.json", decided)
        return decided

    def _follow(self, now: float) -> Mapping[str, Any]:
        """Return node 0's decision to end the run, or one of our own when nothing is heard of it, or nothing."""
        decided = self._decision()
        if decided.get("stall", self._earlier) != self._earlier:
            return decided
        silence = self._progress.silence(now)
        if silence is None or not self._progress.silent(now, self._patience):
            return {}
        return self._decided(silence)

    def _decided(self, silence: float) -> dict[str, Any]:
        name = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        return {
            "stall": f"{name}-{self._start}",
            "folder": name,
            "silence": silence,
            "limit": self._progress.limit(),
            "node": self._place.node,
        }

    def _end(self, decided: Mapping[str, Any]) -> None:
        target, since = self._place.run_folder / STALLS / decided["folder"], time.time()
        try:
            self._ranks = stall_report.collect(
                self._command.process, self._place.heartbeats, target, self._path, self._say
            )
        except OSError as error:
            self._say(f"the stalled run's reports cannot be written to '{target}': {error}")
        self._dumped = decided["stall"]
        self._publish()
        self._leads = decided["node"] == self._place.node
        if self._leads:
            self._await(self._all_dumped)
            self._tell(decided, target, since)
            self._write("end.json", {"stall": decided["stall"]})
        else:
            self._await(lambda: self._read("end.json").get("stall") == decided["stall"])
            self._say(f"no progress for {decided['silence']:.0f} s: node 0's guard ends the run; see its log")
        self._command.kill()

    def _tell(self, decided: Mapping[str, Any], target: Path, since: float) -> None:
        now = time.monotonic()
        self._progress.look(now, self._records())
        late = stall_report.behind(self._progress, self._progress.silent(now, _SILENT_BEATS * self._pause))
        try:
            logs = self._place.run_folder / LOGS
            recorded = stall_report.collectives(self._progress, target, logs, since - CLOCKS_SECONDS)
        except Exception as error:
            # The run is to be ended, whatever is in a file that ranks have written.
            recorded = [f"the flight recorders in '{target}' cannot be read: {error!r}"]
        summary = stall_report.message(
            self._progress, decided["silence"], decided["limit"], late, target, recorded
        )
        self._say(summary)
        with contextlib.suppress(OSError):
            (target / "summary.txt").write_text(f"{summary}\n", encoding="utf-8")

    def _all_dumped(self) -> bool:
        """Return whether every node that is heard has written its reports."""
        self._publish()
        now = time.monotonic()
        self._progress.look(now, self._records())
        silent = self._progress.silent(now, _SILENT_BEATS * self._pause)
        return all(
            self._progress.records[node]["dumped"] == self._dumped or self._progress.records[node]["ended"]
            for node in self._progress.last_seen
            if node not in silent
        )

    def _await(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + REPORT_SECONDS
        while not reached() and time.monotonic() < deadline and not self._command.ended.is_set():
            time.sleep(_POLL_SECONDS)

    def _records(self) -> dict[int, Record]:
        """Return the records of the nodes that this guard looks at."""
        found: dict[int, Record] = {}
        for node in self._progress.nodes:
            record = self._record() if node == self._place.node else self._read(f"node-{node}.json")
            if record:
                found[node] = record
        return found

    def _record(self, *, ended: bool = False) -> dict[str, Any]:
        return {
            "host": self._place.host,
            "start": self._start,
            "beat": self._beat,
            "lines": self._metrics.lines,
            "metrics": {name: value for name, value in self._metrics.last.items() if math.isfinite(value)},
            "ranks": self._ranks,
            "ended": ended,
            "dumped": self._dumped,
            **self._quiet(),
        }

    def _quiet(self) -> dict[str, Any]:
        """Return the time without progress, for the exporter: of node 0's guard, and of one that has ended the run."""
        if not self._stall and self._place.node:
            return {}
        now = self._stall or {
            "seconds": time.monotonic() - self._progress.moved,
            "limit": self._progress.limit(),
        }
        return {"quiet": {"begun": round(self._begun, 3), **{name: round(now[name], 3) for name in now}}}

    def _publish(self, *, ended: bool = False) -> None:
        self._beat += 1
        self._write(f"node-{self._place.node}.json", self._record(ended=ended))
        if self._writes:
            self._metrics.write(self._place.run_folder, self._place.run_folder.name)
        if self._goodput:
            self._goodput.look(self._metrics.lines, self._metrics.last.get("step"), self._ranks)
            self._goodput.write()

    def _decision(self) -> dict[str, Any]:
        return self._read("stall.json")

    def _read(self, name: str) -> dict[str, Any]:
        """Return a file of the folder; nothing where it is not there, or unreadable for now."""
        try:
            found: dict[str, Any] = json.loads((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            return {}
        return found

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        """Replace a file of the folder; a full file system is not to end a run that trains."""
        temporary = self._folder / f".{name}.{self._place.node}"
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(content), encoding="utf-8")
            temporary.chmod(0o644)
            os.replace(temporary, self._folder / name)

    def _open_to_exporter(self) -> None:
        """Let everybody into the watch folder, and through the run's folder, which nobody else may list.

        The exporter of runs is a user of its own. Jobs make other files for their owner and group alone (umask 027).
        """
        with contextlib.suppress(OSError):
            self._folder.chmod(0o755)
            self._place.run_folder.chmod(stat.S_IMODE(self._place.run_folder.stat().st_mode) | stat.S_IXOTH)
