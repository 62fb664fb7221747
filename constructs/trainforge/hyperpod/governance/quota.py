"""A team's compute quota, as the SageMaker API has it."""

from __future__ import annotations

from typing import Any

from catalog.compute_quota import ComputeQuota

_STRATEGIES = {"none": "DontLend", "lend": "Lend", "lend-and-borrow": "LendAndBorrow"}
_PREEMPTION = {"lower-priority": "LowerPriority", "never": "Never"}


def quota_properties(quota: ComputeQuota, team: str) -> dict[str, Any]:
    """Return a quota that counts by EC2 instance type as CreateComputeQuota takes it."""
    sharing: dict[str, Any] = {"Strategy": _STRATEGIES[quota.sharing]}
    if quota.borrow_percent is not None:
        sharing["BorrowLimit"] = quota.borrow_percent
    resources = [
        *({"InstanceType": f"ml.{kind}", "Count": count} for kind, count in quota.nodes.items()),
        *({"InstanceType": f"ml.{kind}", "Accelerators": n} for kind, n in quota.accelerators.items()),
    ]
    return {
        "ComputeQuotaConfig": {
            "ComputeQuotaResources": resources,
            "ResourceSharingConfig": sharing,
            "PreemptTeamTasks": _PREEMPTION[quota.preempt],
        },
        "ComputeQuotaTarget": {"TeamName": team, "FairShareWeight": quota.fair_share_weight},
    }
