"""The metrics that CloudWatch would have of the fleet: of its FSx file systems and of its reserved capacity."""

from __future__ import annotations

import math
from collections.abc import Sequence

from catalog.observability import HOURS_UNTIL_END
from observability.dashboards.storage import LUSTRE_METRICS, OPENZFS_METRICS

_LEVELS = {
    "DataReadBytes": 9e10,
    "DataWriteBytes": 4e10,
    "DataReadOperations": 2e5,
    "DataWriteOperations": 9e4,
    "MetadataOperations": 3e4,
    "FreeDataStorageCapacity": 2.4e12,
    "ClientConnections": 7.0,
    "NetworkThroughputUtilization": 31.0,
    "FileServerDiskThroughputUtilization": 22.0,
    "FileServerDiskIopsUtilization": 14.0,
    "DiskIopsUtilization": 9.0,
    "CPUUtilization": 18.0,
    "StorageCapacity": 2.7e11,
    "UsedStorageCapacity": 1.6e11,
}
_CONSTANT = ("ClientConnections", "StorageCapacity")
_SPACE = {"FreeDataStorageCapacity": -1 / 900, "UsedStorageCapacity": 1 / 2400}
_TARGETS = 16
_CHECKPOINT_POINTS = 15


_HOURS = {"cr-0123456789abcdef0": 41.0, "training-plan/llama3-70b": 163.5, "group/on-demand": 8760.0}
"""Hours until reserved capacity ends, by reservation. The last one has no end, for which a year stands."""


def cloudwatch(metric: str, statistic: str, times: Sequence[float]) -> dict[str, list[float]]:
    """Return the values of a metric at times by reservation, or of the one file system."""
    if metric == HOURS_UNTIL_END:
        return {
            name: [min(8760.0, hours + (times[-1] - time) / 3600) for time in times]
            for name, hours in _HOURS.items()
        }
    return {"": _of_file_system(metric, statistic, times)}


def _of_file_system(metric: str, statistic: str, times: Sequence[float]) -> list[float]:
    """Return the values of a file system's metric: free space that shrinks, writes with peaks at checkpoints."""
    assert metric in {*LUSTRE_METRICS, *OPENZFS_METRICS}, metric
    level = _LEVELS[metric]
    if metric in _CONSTANT:
        return [level] * len(times)
    if metric in _SPACE:
        share = 1 / _TARGETS if (metric, statistic) == ("FreeDataStorageCapacity", "Minimum") else 1.0
        return [level * share * (1 + index * _SPACE[metric]) for index in range(len(times))]
    peaks = metric == "DataWriteBytes"
    return [
        level * (1 + 0.1 * math.sin(index / 9) + 3 * (peaks and index % _CHECKPOINT_POINTS == 0))
        for index in range(len(times))
    ]
