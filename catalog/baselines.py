"""Published bus bandwidths of collectives, by instance type and number of nodes, and the limits of a comparison.

Every figure was measured and published by others; data/baselines.json names the source of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from catalog.records import read

WARN_SHARE = 0.89
"""The share of a published bandwidth below which a run is worth a look.

Azure's baselines for ND H100 v5 expect 450 GB/s of an all-reduce of 16 GiB, warn below 400 and replace nodes below 300
(its skill "sku_performance_baseline", read in November 2026). AWS publishes no such limits: the two shares are used
for all instance types.
"""

FAIL_SHARE = 0.67
"""The share of a published bandwidth below which a run fails: 300 of 450, as above."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A published result: bus bandwidths in GB/s (10^9 bytes), by the size of the message in bytes."""

    benchmark: str
    collective: str
    instance_type: str
    nodes: int
    busbw_gb_per_s: Mapping[int, float]
    source: str


@cache
def baselines() -> tuple[Baseline, ...]:
    """Return all published results, in the order of the data."""
    return tuple(
        Baseline(
            each["benchmark"],
            each["collective"],
            each["instance_type"],
            each["nodes"],
            MappingProxyType({int(size): float(speed) for size, speed in each["busbw_gb_per_s"].items()}),
            each["source"],
        )
        for each in read("baselines.json")["baselines"]
    )


def baseline(benchmark: str, collective: str, instance_type: str, nodes: int) -> Baseline | None:
    """Return the published result of this very set of nodes, or None where nobody has published one."""
    key = (benchmark, collective, instance_type, nodes)
    return next(
        (
            each
            for each in baselines()
            if (each.benchmark, each.collective, each.instance_type, each.nodes) == key
        ),
        None,
    )
