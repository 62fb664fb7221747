"""The rounds of a sweep over pairs of nodes, and what they say about each node. The standard library alone.

The first round measures all nodes in disjoint pairs at once. Where a pair is slow, one of its nodes may be, or both.
The second round gives each node of such a pair, and a node that had no partner, a partner of a pair that was not slow.
A node that is slow again is the slow one. More rounds follow only where good partners are fewer than the nodes in
doubt: a set with one slow node takes two rounds, whatever its size (five nodes may take three).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_high

SLOW_SHARE = 0.8
"""The share of the median pair's bandwidth below which a pair is slow: our choice, no source has one."""

Pair = tuple[int, int]
"""The indices of two nodes, the lower one first."""


@dataclass
class Sweep:
    """A sweep over `nodes` nodes: which pairs to measure next, and what was measured, in GB/s.

    `least` is a bandwidth below which a pair is slow in any case, or 0. `slow_share` is that of the median pair.
    """

    nodes: int
    slow_share: float = SLOW_SHARE
    least: float = 0.0
    rounds: list[dict[Pair, float]] = field(default_factory=list)

    def pairs(self) -> list[Pair]:
        """Return the pairs of the next round, none of whose nodes is in two; empty where the sweep is at its end."""
        if not self.rounds:
            return [(first, first + 1) for first in range(0, self.nodes - 1, 2)]
        partners = sorted(self.good)
        return [
            (min(node, partner), max(node, partner))
            for node, partner in zip(self._open, partners, strict=False)
        ]

    def add(self, measured: Mapping[Pair, float]) -> None:
        """Take in what a round measured."""
        self.rounds.append(dict(measured))

    @property
    def limit(self) -> float:
        """The bandwidth below which a pair is slow, in GB/s."""
        speeds = [speed for measured in self.rounds for speed in measured.values()]
        return max(self.least, median_high(speeds) * self.slow_share) if speeds else self.least

    @property
    def good(self) -> frozenset[int]:
        """Nodes of a pair that was not slow."""
        limit = self.limit
        return frozenset(node for pair, speed in self._measured if speed >= limit for node in pair)

    @property
    def slow(self) -> list[int]:
        """Nodes that were slow with a good partner: each needs a look."""
        good, limit = self.good, self.limit
        return sorted(
            {
                node
                for pair, speed in self._measured
                if speed < limit
                for node in pair
                if node not in good and set(pair) - {node} <= good
            }
        )

    @property
    def undecided(self) -> list[int]:
        """Nodes that were slow and had no good partner, or none at all."""
        return sorted(set(range(self.nodes)) - self.good - set(self.slow))

    @property
    def slow_pairs(self) -> list[Pair]:
        """Pairs that were slow though both nodes are good with another partner: the path between them needs a look."""
        good, limit = self.good, self.limit
        return sorted(pair for pair, speed in self._measured if speed < limit and set(pair) <= good)

    @property
    def _measured(self) -> Sequence[tuple[Pair, float]]:
        return [each for measured in self.rounds for each in measured.items()]

    @property
    def _open(self) -> list[int]:
        """Nodes that a further round can decide about."""
        return self.undecided if self.good else []
