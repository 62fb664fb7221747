"""The activity of a rank in a profile: when it computes, communicates and copies, and what that makes of its steps."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

Spans = list[tuple[int, int]]
"""Start and end of periods in nanoseconds, sorted, none overlapping another."""

STEP = re.compile(r"(?:step |ProfilerStep#)(?P<number>[0-9]+)")
"""The name of a step: ours, and that of torch's schedule (torch/profiler/profiler.py)."""


class ProfileError(ValueError):
    """A mistake in the files of a profile that a person can correct."""


class Kind(StrEnum):
    """The kind of an operation on a device."""

    COMPUTE = "compute"
    COMMUNICATION = "communication"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Operation:
    """All operations of one name: how many, and their time in nanoseconds."""

    name: str
    kind: Kind
    count: int
    nanoseconds: int


@dataclass(frozen=True, slots=True)
class RankActivity:
    """The activity of a rank, in nanoseconds of one clock.

    `rank` is None where the file does not say it, and `label` names it then. `on` is what its operations ran on: GPU or
    CPU. `spans` are the periods of each kind, and `steps` the periods of steps by their numbers.
    """

    rank: int | None
    label: str
    host: str
    on: str
    source: Path
    spans: dict[Kind, Spans]
    steps: dict[int, tuple[int, int]]
    operations: tuple[Operation, ...]

    @property
    def window(self) -> tuple[int, int]:
        """The period that the profile covers: of the steps, and of operations outside them."""
        periods = [*self.steps.values(), *(span for spans in self.spans.values() for span in spans)]
        return min(start for start, _ in periods), max(end for _, end in periods)

    @property
    def shares(self) -> Shares:
        """The time of each kind."""
        compute, communication = self.spans[Kind.COMPUTE], self.spans[Kind.COMMUNICATION]
        working = union([*compute, *communication])
        copying = self.spans[Kind.COPY]
        start, end = self.window
        both = length(overlap(compute, communication))
        alone = length(copying) - length(overlap(copying, working))
        return Shares(
            window=end - start,
            compute=length(compute),
            communication=length(communication),
            overlapped=both,
            copies=length(copying),
            copies_alone=alone,
            waiting=end - start - length(working) - alone,
        )

    @property
    def step_nanoseconds(self) -> float | None:
        """The mean length of a step; None where the profile names none."""
        if not self.steps:
            return None
        return sum(end - start for start, end in self.steps.values()) / len(self.steps)


@dataclass(frozen=True, slots=True)
class Shares:
    """Nanoseconds of a profile's `window`: in operations of each kind, and in none (`waiting`).

    `overlapped` is communication while something computes, `copies_alone` copies while nothing else runs.
    """

    window: int
    compute: int
    communication: int
    overlapped: int
    copies: int
    copies_alone: int
    waiting: int

    @property
    def exposed(self) -> int:
        """Communication while nothing computes."""
        return self.communication - self.overlapped


@dataclass(slots=True)
class Recorder:
    """Takes the operations of a rank, one after the other in any order, and adds them up."""

    _found: dict[Kind, Spans] = field(default_factory=lambda: {kind: [] for kind in Kind})
    _totals: dict[tuple[str, Kind], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    steps: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, kind: Kind, name: str, start: int, end: int) -> None:
        """Take an operation."""
        self.count(kind, name, end - start)
        self.span(kind, start, end)

    def count(self, kind: Kind, name: str, nanoseconds: int) -> None:
        """Take the time of an operation by its name alone."""
        total = self._totals[name, kind]
        total[0] += 1
        total[1] += nanoseconds

    def span(self, kind: Kind, start: int, end: int) -> None:
        """Take a period of a kind."""
        spans = self._found[kind]
        # Most operations follow the one before: that keeps a profile of millions of them small.
        if spans and spans[-1][0] <= start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))

    def step(self, name: str, start: int, end: int) -> bool:
        """Take a period if its name is that of a step, and return whether it is."""
        named = STEP.fullmatch(name)
        if named:
            self.steps[int(named["number"])] = (start, end)
        return named is not None

    @property
    def empty(self) -> bool:
        """True if it has taken no operation."""
        return not self._totals

    def of_rank(self, rank: int | None, label: str, host: str, on: str, source: Path) -> RankActivity:
        """Return the activity of a rank."""
        operations = [Operation(name, kind, *total) for (name, kind), total in self._totals.items()]
        return RankActivity(
            rank,
            label,
            host,
            on,
            source,
            {kind: union(spans) for kind, spans in self._found.items()},
            dict(sorted(self.steps.items())),
            tuple(sorted(operations, key=lambda one: (-one.nanoseconds, one.name))),
        )


def kind_of_kernel(name: str) -> Kind:
    """Return the kind of a GPU's kernel: those of NCCL have it in their names (ncclDevKernel_AllReduce_...)."""
    return Kind.COMMUNICATION if "nccl" in name.lower() else Kind.COMPUTE


def union(spans: Iterable[tuple[int, int]]) -> Spans:
    """Return periods without overlaps."""
    found: Spans = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def overlap(one: Spans, other: Spans) -> Spans:
    """Return the periods that are in both."""
    return list(_overlap(one, other))


def without(one: Spans, other: Spans) -> Spans:
    """Return the periods of one that are not in another."""
    found: Spans = []
    for start, end in one:
        at = start
        for begun, ended in overlap([(start, end)], other):
            if begun > at:
                found.append((at, begun))
            at = ended
        if at < end:
            found.append((at, end))
    return found


def length(spans: Spans) -> int:
    """Return the time of periods, in nanoseconds."""
    return sum(end - start for start, end in spans)


def _overlap(one: Spans, other: Spans) -> Iterator[tuple[int, int]]:
    left = right = 0
    while left < len(one) and right < len(other):
        start, end = max(one[left][0], other[right][0]), min(one[left][1], other[right][1])
        if start < end:
            yield start, end
        if one[left][1] < other[right][1]:
            left += 1
        else:
            right += 1
