"""The configuration of HyperPod's observability add-on: kinds of metrics, logs of pods, retention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_SCRAPE_SECONDS = 30
_OFF, _BASIC, _ADVANCED = "DISABLED", "BASIC", "ADVANCED"


@dataclass(frozen=True, slots=True)
class ObservabilityConfig:
    """The metrics that the observability add-on collects, logs of pods, and how many days metrics are kept.

    `advanced` is many more series of nodes, accelerators, Kubernetes and jobs; `governance` the queues of teams.
    """

    advanced: bool = False
    efa: bool = True
    governance: bool = False
    pod_logs: bool = False
    days: int = 150

    def configuration(self, *, workspace_arn: str, endpoint: str) -> dict[str, Any]:
        """Return the add-on's configuration; `endpoint` is the workspace's address without a slash at its end.

        Keys and levels are those of the module that AWS's own sample has for the add-on (repository
        awslabs/awsome-distributed-ai, Terraform module `observability`, read 2026-11-24); the add-on's schema is public
        in the API only. A category has two levels: basic and advanced, or off and advanced. Scaling is of inference.
        """
        detail = _ADVANCED if self.advanced else _BASIC
        levels = {
            "trainingMetrics": detail,
            "nodeMetrics": detail,
            "acceleratedComputeMetrics": detail,
            "customMetrics": detail,
            "inferenceMetrics": _BASIC,
            "networkMetrics": _ADVANCED if self.efa else _OFF,
            "taskGovernanceMetrics": _ADVANCED if self.governance else _OFF,
            "scalingMetrics": _OFF,
        }
        return {
            "ampWorkspace": {"arn": workspace_arn, "prometheusEndpoint": endpoint},
            "metricsProvider": {
                category: {"level": level, "scrapeInterval": _SCRAPE_SECONDS}
                for category, level in levels.items()
            },
            "logging": {"enabled": self.pod_logs},
        }
