"""Counters of a node: the sums of its devices' counters, which no device that leaves or starts anew makes smaller.

A sum of the counters as they are would fall when a device leaves, and Prometheus would take the rest for new traffic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator


class Totals:
    """Growth of counters since the first scrape, of one reading after the other."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], int] = {}
        self._sums: Counter[str] = Counter()

    def add(self, name: str, series: tuple[str, ...], value: int) -> None:
        """Add the growth of a series of a counter; a lower value is a start from 0, as it is for Prometheus.

        The first value of a series adds nothing: what it counted before is older than the sum.
        """
        last = self._last.get((name, *series), value)
        self._last[(name, *series)] = value
        self._sums[name] += value if value < last else value - last

    def values(self) -> Iterator[tuple[str, int]]:
        """Yield the sum of each counter that a device has had."""
        yield from self._sums.items()
