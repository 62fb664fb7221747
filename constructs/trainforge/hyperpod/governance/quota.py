"""A team's compute quota, as the SageMaker API has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_STRATEGIES = {"none": "DontLend", "lend": "Lend", "lend-and-borrow": "LendAndBorrow"}
_PREEMPTION = {"lower-priority": "LowerPriority", "never": "Never"}


@dataclass(frozen=True, slots=True)
class Quota:
    """A team's quota: whole nodes and single accelerators by EC2 instance type, and the sharing of idle capacity.

    `sharing` is none, lend or lend-and-borrow; `borrow_percent` bounds what is borrowed, in percent of the team's own;
    `preempt` is lower-priority or never.
    """

    nodes: Mapping[str, int]
    accelerators: Mapping[str, int]
    fair_share_weight: int = 0
    sharing: str = "lend-and-borrow"
    borrow_percent: int | None = None
    preempt: str = "lower-priority"

    def properties(self, team: str) -> dict[str, Any]:
        """Return it as CreateComputeQuota takes it."""
        sharing: dict[str, Any] = {"Strategy": _STRATEGIES[self.sharing]}
        if self.borrow_percent is not None:
            sharing["BorrowLimit"] = self.borrow_percent
        resources = [
            *({"InstanceType": f"ml.{kind}", "Count": count} for kind, count in self.nodes.items()),
            *({"InstanceType": f"ml.{kind}", "Accelerators": n} for kind, n in self.accelerators.items()),
        ]
        return {
            "ComputeQuotaConfig": {
                "ComputeQuotaResources": resources,
                "ResourceSharingConfig": sharing,
                "PreemptTeamTasks": _PREEMPTION[self.preempt],
            },
            "ComputeQuotaTarget": {"TeamName": team, "FairShareWeight": self.fair_share_weight},
        }
