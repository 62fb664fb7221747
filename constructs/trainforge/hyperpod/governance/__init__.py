"""Task governance of a HyperPod cluster that EKS orchestrates: priorities, and quotas of teams."""

from trainforge.hyperpod.governance.construct import TaskGovernance

__all__ = ["TaskGovernance"]
