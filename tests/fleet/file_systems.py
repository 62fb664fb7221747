"""The metrics that CloudWatch would have of the fleet's FSx file system."""

from __future__ import annotations

import math
from collections.abc import Sequence

from observability.dashboards.storage import FSX_METRICS

_LEVELS = {
    "DataReadBytes": 9e10,
    "DataWriteBytes": 4e10,
    "DataReadOperations": 2e5,
    "DataWriteOperations": 9e4,
    "MetadataOperations": 3e4,
    "FreeDataStorageCapacity": 2.4e12,
    "ClientConnections": 7.0,
}
_TARGETS = 16
_CHECKPOINT_POINTS = 15


def cloudwatch(metric: str, statistic: str, times: Sequence[float]) -> list[float]:
    """Return the values of a metric at times: free space that shrinks, writes with peaks at checkpoints."""
    assert metric in FSX_METRICS, metric
    level = _LEVELS[metric]
    if metric == "ClientConnections":
        return [level] * len(times)
    if metric == "FreeDataStorageCapacity":
        share = 1.0 if statistic == "Sum" else 1 / _TARGETS
        return [level * share * (1 - index / 900) for index in range(len(times))]
    peaks = metric == "DataWriteBytes"
    return [
        level * (1 + 0.1 * math.sin(index / 9) + 3 * (peaks and index % _CHECKPOINT_POINTS == 0))
        for index in range(len(times))
    ]
