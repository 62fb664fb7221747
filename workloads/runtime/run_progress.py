"""The progress of a run: the records of its nodes, and the time since which none has changed.

Every guard writes a record of its node every few seconds; node 0's guard reads them all. Times are of one clock, the
reader's: it notes the time when a record changed, so that clocks of nodes need not agree, and a file system that hangs
for all of them makes no node look lost.

A node's record: `host`, `start` (equal while its guard runs), `beat` (counts the writes), `lines` (of progress that
the program has printed there), `metrics` (the last values of these lines), `ranks` (the heartbeat records of its ranks,
see training/heartbeat.py), `ended` (whether its program has ended), `dumped` (the stall that it has written reports
of). Node 0's has `quiet` too: when its guard `begun`, the `seconds` without progress since then, and their `limit` now.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

Record = Mapping[str, Any]

TRAIN = "train"
"""The phase of a rank between two steps; in any other, such as a checkpoint, it has the longer allowance."""


@dataclass(frozen=True)
class Allowed:
    """The time without progress that is allowed, in seconds.

    `start` before the first step and in phases other than training, `stall` between steps, `rendezvous` while not
    all nodes have been heard: they may still be starting or pulling their image.
    """

    start: float
    stall: float
    rendezvous: float


@dataclass
class RunProgress:
    """The progress of the nodes `nodes` since `begun`, a time of a monotonic clock."""

    nodes: Collection[int]
    allowed: Allowed
    begun: float
    records: dict[int, Record] = field(default_factory=dict)
    last_seen: dict[int, float] = field(default_factory=dict)
    moved: float = field(init=False)

    def __post_init__(self) -> None:
        """Count from the beginning."""
        self.moved = self.begun

    def look(self, now: float, records: Mapping[int, Record]) -> None:
        """Read the current records. The first record of a node may be one of an earlier start."""
        for node in self.nodes:
            record = records.get(node)
            before = self.records.get(node)
            if record is None:
                continue
            self.records[node] = record
            if before is None or (before["start"], before["beat"]) == (record["start"], record["beat"]):
                continue
            if node not in self.last_seen or _position(before) != _position(record):
                self.moved = now
            self.last_seen[node] = now

    def limit(self) -> float:
        """Return the time without progress that is allowed now."""
        if len(self.last_seen) < len(self.nodes):
            return max(self.allowed.rendezvous, self.allowed.start)
        live = [self.records[node] for node in self.last_seen if not self.records[node]["ended"]]
        ranks = [rank for record in live for rank in record["ranks"]]
        if ranks:
            # A rank that has told its exit code is leaving, which closes files and connections.
            training = all(rank["phase"] == TRAIN and rank["exit_code"] is None for rank in ranks)
        else:
            training = any(record["lines"] for record in self.records.values())
        return self.allowed.stall if training else self.allowed.start

    def silence(self, now: float) -> float | None:
        """Return the seconds without progress if they are more than allowed."""
        seconds = now - self.moved
        return seconds if seconds > self.limit() else None

    def silent(self, now: float, seconds: float) -> list[int]:
        """Return the nodes of which nothing was heard for this long; one whose program has ended is not silent."""
        return [
            node
            for node in sorted(self.nodes)
            if now - self.last_seen.get(node, self.begun) > seconds
            and not (node in self.last_seen and self.records[node]["ended"])
        ]


def _position(record: Record) -> tuple[object, ...]:
    """Return the part of a record that changes with progress. A rank that was started again has another process."""
    ranks = sorted((rank["rank"], rank["process"], rank["changes"]) for rank in record["ranks"])
    return (record["start"], record["lines"], record["ended"], *ranks)
