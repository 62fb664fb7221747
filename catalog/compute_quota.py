"""A team's compute quota on a HyperPod cluster, for task governance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from catalog.fields import Bounds
from catalog.hyperpod_eks import MAX_BORROWED_PERCENT


@dataclass(frozen=True, slots=True)
class ComputeQuota:
    """A team's quota, in a namespace of its own: `hyperpod-ns-` and the team's name.

    A configuration counts by pool, and SageMaker by EC2 instance type: `dataclasses.replace` gives one from the other.
    The bound of accelerators is the API's (botocore: sagemaker AcceleratorsAmount).
    """

    nodes: dict[str, Annotated[int, Bounds(1, 6758)]] = field(default_factory=dict)
    """Whole nodes that are the team's, by pool."""
    accelerators: dict[str, Annotated[int, Bounds(1, 10_000_000)]] = field(default_factory=dict)
    """Accelerators that are the team's, by pool, where they are not whole nodes."""
    fair_share_weight: Annotated[int, Bounds(0, 100)] = 0
    """Weight of the team when idle compute is shared out; a greater one gets more."""
    sharing: Literal["none", "lend", "lend-and-borrow"] = "lend-and-borrow"
    """Lending of idle compute to other teams, and borrowing from them."""
    borrow_percent: Annotated[int | None, Bounds(1, MAX_BORROWED_PERCENT)] = None
    """Most that the team may borrow, in percent of its own; absent: HyperPod's default."""
    preempt: Literal["lower-priority", "never"] = "lower-priority"
    """Preemption within the team: tasks with a higher priority end those with a lower one, or never do."""
