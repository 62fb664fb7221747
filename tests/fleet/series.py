"""The series of a fleet: values a minute, as the exporters of the catalog would give them.

Every name comes from the catalog's records, and labels are checked against them, so that the fleet has no series which
no exporter has.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from catalog.metrics import SHARED_LABELS, metrics

Key = tuple[tuple[str, str], ...]
"""The labels of a series, sorted."""

Curve = Callable[[int], float]
"""The value at a minute; NaN with `absent` where there is none."""

LABELS = {
    name: frozenset(
        label
        for metric in metrics()
        if name in metric.series_names
        for label in (*metric.labels, *SHARED_LABELS, "le")
    )
    for metric in metrics()
    for name in metric.series_names
}
ABSENT = None
TIMESTAMP = "_timestamp_seconds"
"""The ending of metrics that tell a time: their values here are seconds since minute 0."""


@dataclass
class Series:
    """Series of a fleet over a number of minutes, by name and labels."""

    minutes: int
    values: dict[str, dict[Key, list[float | None]]] = field(default_factory=dict)

    def add(self, name: str, labels: Mapping[str, str], value: float | Callable[[int], float | None]) -> None:
        """Add a gauge: a value, or one for each minute."""
        curve = value if callable(value) else lambda _: float(value)
        assert tuple(sorted(labels.items())) not in self.values.get(name, {}), (name, labels)
        self._row(name, labels)[:] = [curve(minute) for minute in range(self.minutes)]

    def observe(self, minute: int, name: str, labels: Mapping[str, str], value: float) -> None:
        """Add a value at a minute; a series has none at the minutes that are not observed."""
        self._row(name, labels)[minute] = value

    def _row(self, name: str, labels: Mapping[str, str]) -> list[float | None]:
        """Return the values of a series by minute; a new one has none yet."""
        rows, key = self.values.setdefault(name, {}), tuple(sorted(labels.items()))
        if key not in rows:
            unknown = set(labels) - LABELS.get(name, frozenset(SHARED_LABELS if name == "up" else ()))
            assert not unknown, f"{name} has no labels {sorted(unknown)}"
            rows[key] = [ABSENT] * self.minutes
        return rows[key]

    def count(
        self, name: str, labels: Mapping[str, str], per_minute: float | Curve, start: float = 0.0
    ) -> None:
        """Add a counter by its growth in each minute."""
        total = start
        totals = []
        for minute in range(self.minutes):
            total += per_minute(minute) if callable(per_minute) else per_minute
            totals.append(total)
        self.add(name, labels, totals.__getitem__)

    def lines(self, end: float) -> Iterator[str]:
        """Yield OpenMetrics lines with a time, the last at `end` in seconds since 1970; without types, as unknown."""
        begin = end - 60 * (self.minutes - 1)
        for name, found in self.values.items():
            since = begin if name.endswith(TIMESTAMP) else 0.0
            for labels, values in found.items():
                inner = ",".join(f'{key}="{value}"' for key, value in labels)
                for minute, value in enumerate(values):
                    if value is not ABSENT:
                        yield f"{name}{{{inner}}} {number(value + since)} {begin + 60 * minute:.0f}\n"
        yield "# EOF\n"


def number(value: float) -> str:
    """Return a value as Prometheus writes it."""
    if math.isfinite(value):
        return f"{value:.10g}"
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def noise(seed: str, mean: float, share: float = 0.03) -> Curve:
    """Return a curve around a mean that looks measured; equal seeds give equal curves."""
    generator = random.Random(seed)
    phase, period = generator.uniform(0, 6), generator.uniform(15, 40)
    steps = [generator.gauss(0, share / 2) for _ in range(2000)]

    def curve(minute: int) -> float:
        return mean * (1 + share / 2 * math.sin(minute / period + phase) + steps[minute])

    return curve


def between(first: int, last: int, inside: float | Curve, outside: float | Curve = 0.0) -> Curve:
    """Return a curve that differs from minute `first` to before `last`."""

    def curve(minute: int) -> float:
        chosen = inside if first <= minute < last else outside
        return chosen(minute) if callable(chosen) else chosen

    return curve
