"""Messages on the deployment's topic of what HyperPod's health monitoring agent writes to a cluster's log group."""

from trainforge.hyperpod.health_log.construct import HealthLog

__all__ = ["HealthLog"]
