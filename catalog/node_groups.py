"""Settings of a managed node group of EKS: how many nodes run, and the repair of unhealthy ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from catalog.fields import Bounds, MinLength


@dataclass(frozen=True, slots=True)
class Scaling:
    """The number of running nodes of a pool that does not run all of them all the time."""

    minimum: Annotated[int, Bounds(0, 6758)] = 0
    """Nodes that an autoscaler leaves."""
    desired: Annotated[int | None, Bounds(0, 6758)] = None
    """Nodes that run after a deployment; by default the pool's `nodes`. 0 until a capacity block has begun."""


@dataclass(frozen=True, slots=True)
class RepairAction:
    """The action for one finding of the node monitoring agent, in place of EKS's own choice."""

    condition: Annotated[str, MinLength(1)]
    """The node's condition, as the agent names it."""
    reason: Annotated[str, MinLength(1)]
    """The reason that the agent gives for it."""
    wait_minutes: Annotated[int, Bounds(1, 1440)]
    """Minutes for which it must hold."""
    action: Literal["replace", "reboot", "none"]
    """Repair that EKS does then."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Automatic repair: EKS replaces or reboots nodes that the node monitoring agent reports as unhealthy."""

    stop_above_percent: Annotated[int | None, Bounds(1, 100)] = None
    """Share of a node group's nodes that are unhealthy at once, above which nothing is repaired; absent: EKS's own."""
    parallel_nodes: Annotated[int | None, Bounds(1, 450)] = None
    """Nodes that are repaired at a time; absent: EKS's own."""
    overrides: tuple[RepairAction, ...] = ()
    """Actions of your own for single findings."""
