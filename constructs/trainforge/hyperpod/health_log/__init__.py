"""What HyperPod's health monitoring agent writes to a cluster's log group, on the deployment's topic."""

from trainforge.hyperpod.health_log.construct import HealthLog

__all__ = ["HealthLog"]
