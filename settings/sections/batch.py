"""Settings of AWS Batch for multi-node training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from catalog.pool import Pool
from settings.sections.cluster import ClusterSettings
from settings.sections.images import NodeImageSettings
from settings.sections.model import Model
from settings.sections.network import LogDays

Minutes = Annotated[int, Field(ge=10, le=1440)]
"""Minutes that Batch can wait (botocore: batch JobStateTimeLimitAction, 600 to 86400 seconds)."""


class FairShareSettings(Model):
    """Shares of the queues, so that one group's many jobs do not block the others'; every job names its share."""

    weights: dict[str, float] = Field(min_length=1)
    """Weight of each share, 0.0001 to 999.9999: half the weight is twice the part. The first is the default."""
    decay_minutes: int = Field(default=1440, ge=10, le=10080)
    """For how long what a share has used counts against it, in minutes."""
    reserved_percent: int = Field(default=0, ge=0, le=99)
    """Part of the nodes that is kept free for shares that use none, in percent, to the power of the shares in use."""
    priorities: dict[str, Annotated[int, Field(ge=0, le=9999)]] = {}
    """Priority of a workload's jobs within their share, 0 to 9999; the highest runs first. By default 0."""


class RunnableLimits(Model):
    """Limits of the time that the job at the head of a queue may wait before Batch cancels it."""

    capacity_minutes: Minutes | None = None
    """EC2 has no such capacity; by default it waits until there is some."""
    too_large_minutes: Minutes | None = 10
    """The job asks for more nodes than the pool has."""
    unfit_minutes: Minutes | None = 10
    """No node of the pool can hold what the job asks for."""


class JobHealthSettings(Model):
    """Our health checks of each node of a job, before its program starts (docs/health.md)."""

    action: Literal["none", "terminate"] = "none"
    """Action on a node with a fault: only record it, or have its instance terminated and the job start again."""


class BatchSettings(ClusterSettings):
    """AWS Batch: a compute environment and a queue for each pool, which start nodes for jobs and end idle ones."""

    pools: list[str] = Field(min_length=1)
    """Names of the pools that jobs run on; each has a queue."""
    image: NodeImageSettings | None = None
    """Machine image of the pools' nodes; absent: that of the service."""
    min_nodes: dict[str, int] = {}
    """Nodes of a pool that always run, whether jobs wait or not; by default none."""
    fair_share: FairShareSettings | None = None
    """Shares of the queues; absent: the first job that comes is the first that runs."""
    runnable_limits: RunnableLimits = RunnableLimits()
    """Times after which a job that cannot start is cancelled, so that those behind it run."""
    secrets: dict[str, str] = {}
    """ARN of the Secrets Manager secret for a purpose that workloads name, such as huggingface."""
    health: JobHealthSettings | None = None
    """Our health checks on the nodes of jobs; absent: none."""
    log_days: LogDays = 180
    """Days for which logs of jobs are kept."""
    dashboard: bool = True
    """A CloudWatch dashboard of jobs, queues and the file system."""

    def running_nodes(self, pool: Pool) -> int:
        """Return how many nodes of a pool run whether there are jobs or not."""
        return self.min_nodes.get(pool.name, 0)

    def key_of_no_nodes(self, pool: Pool) -> str:
        """Return the key by which no node of a pool runs without jobs."""
        del pool
        return "min_nodes"
