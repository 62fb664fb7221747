"""Options of a ParallelCluster: Slurm, and monitoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from catalog.fields import Bounds
from catalog.log_retention import LogDays


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """Behaviour of Slurm: idle nodes, updates, health checks, further lines of slurm.conf."""

    idle_minutes: Annotated[int, Bounds(1, 10080)] = 10
    """Minutes without a job after which a node beyond those kept is ended."""
    update_strategy: Literal["drain", "terminate", "compute-fleet-stop"] = "drain"
    """Action of an update on the nodes that it changes: wait for their jobs, end them, or refuse while nodes run."""
    gpu_health_checks: bool = True
    """Check GPUs (dcgmi diag) before each job; a node that fails is replaced."""
    settings: tuple[dict[str, str | int], ...] = ()
    """Further lines of slurm.conf, such as {TopologyParam: SwitchAsNodeRank}."""


@dataclass(frozen=True, slots=True)
class Monitoring:
    """Monitoring of the cluster in CloudWatch."""

    detailed: bool = True
    """Metrics of instances by the minute, not every five."""
    log_days: LogDays = 180
    """Days for which logs of the cluster's nodes are kept."""
    dashboard: bool = True
    """A CloudWatch dashboard of the cluster."""
    alarms: bool = True
    """CloudWatch alarms on the head node: health, processor, memory and disk."""
