"""Settings by which the nodes of HyperPod and of EKS get newer images of the service's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from catalog.fields import Bounds, Pattern

HYPERPOD_RELEASE: Final = r"^[0-9]+\.[0-9]+\.[0-9]+$"
"""The form of a release of HyperPod's image (botocore: sagemaker ImageReleaseVersion)."""

EKS_RELEASE: Final = r"^[0-9]+\.[0-9]+\.[0-9]+-[0-9]{8}$"
"""The form of a release of EKS' Amazon Linux image: the version of Kubernetes and a date (EKS User Guide, "Retrieve
Amazon Linux AMI version information")."""

_MINUTE = r"([0-5]?[0-9])?"
_HOUR = r"([01]?[0-9]|2[0-3])"
_DAY = r"(0?[1-9]|[12][0-9]|3[01]|\?)"
_MONTH = r"(0?[1-9]|1[0-2]|\*|\*/([1-9]|1[0-2]))?"
_DAYS = "MON|TUE|WED|THU|FRI|SAT|SUN"
_WEEKDAY = rf"({_DAYS}|[1-7]|\?|L|[1-7]#[1-5]|[1-7]L)"
_YEAR = r"(20[2-9][0-9]|\*)?"
SCHEDULE: Final = rf"^cron\({_MINUTE} {_HOUR} {_DAY} {_MONTH} {_WEEKDAY} {_YEAR}\)$"
"""The form of a schedule of updates: one hour, no lists and no ranges (CloudFormation, AWS::SageMaker::Cluster,
ScheduledUpdateConfig, `ScheduleExpression`)."""


@dataclass(frozen=True, slots=True)
class Patching:
    """Security patches of HyperPod's image, which HyperPod installs by itself on nodes that have no job."""

    strategy: Literal["when-idle", "when-all-idle"] = "when-idle"
    """when-idle: each node as it becomes idle; when-all-idle: all nodes of a pool, and only when all of them are."""


@dataclass(frozen=True, slots=True)
class ScheduledUpdate:
    """Updates of the nodes to HyperPod's newest image at given times, whether nodes have jobs or not."""

    schedule: Annotated[str, Pattern(SCHEDULE)]
    """Times in UTC, as cron(minute hour day month weekday year)."""
    batch_nodes: Annotated[int | None, Bounds(1, 6758)] = None
    """Nodes of a pool that are updated at a time; absent: all of them."""
    wait_seconds: Annotated[int | None, Bounds(0, 3600)] = None
    """Seconds between two batches; absent: HyperPod's own."""


@dataclass(frozen=True, slots=True)
class NodeUpdates:
    """The replacement of a node group's nodes when EKS updates it."""

    parallel_nodes: Annotated[int, Bounds(1, 100)] = 1
    """Nodes that are replaced at a time."""
    force: bool = False
    """End a node though its pods cannot be evicted; otherwise the update fails then."""
