"""Settings of SageMaker HyperPod orchestrated by Amazon EKS."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from catalog.compute_quota import ComputeQuota
from catalog.eks import AddOn
from catalog.health_sweep import HealthSweep
from catalog.hyperpod_eks import (
    DEFAULT_KUBERNETES_VERSION,
    DEFAULT_METRIC_DAYS,
    MAX_METRIC_DAYS,
    MAX_PRIORITIES,
    NAMESPACE,
    Dependencies,
)
from catalog.node_updates import HYPERPOD_RELEASE, Patching, ScheduledUpdate
from catalog.pool import Pool
from settings.parser.fields import FROM_MAPPING
from settings.sections.eks import ControlPlaneSettings
from settings.sections.images import NodeImageSettings
from settings.sections.model import Model


class TaintSettings(Model):
    """A taint of a pool's nodes: only pods that tolerate it run there."""

    key: str
    """Key of the taint."""
    value: str | None = None
    """Value of the taint; absent: none."""
    effect: Literal["no-schedule", "prefer-no-schedule", "no-execute"] = "no-schedule"
    """Effect on pods that do not tolerate it."""


class TaskGovernanceSettings(Model):
    """HyperPod's task governance: quotas and priorities of teams; jobs wait in queues of Kueue."""

    priorities: dict[str, Annotated[int, Field(ge=0, le=100)]] = Field(default={}, max_length=MAX_PRIORITIES)
    """Priority classes of tasks, each with a weight of 0 to 100; absent: first come, first served."""
    fair_share: bool = True
    """Shares idle compute out by the teams' weights; otherwise first come, first served."""
    teams: dict[str, Annotated[ComputeQuota, FROM_MAPPING]] = {}
    """Teams by name, each with its compute quota."""


class ObservabilitySettings(Model):
    """Metrics of nodes, accelerators, fabric and jobs in a Prometheus workspace of the stack's own, and logs of pods.

    Amazon Managed Prometheus charges by the sample.
    """

    detail: Literal["basic", "advanced"] = "basic"
    """Detail of the metrics of nodes, accelerators, Kubernetes and jobs; advanced is many more series."""
    efa: bool = True
    """Measures the EFA interfaces too, which HyperPod itself leaves off."""
    pod_logs: bool = False
    """Sends logs of pods to CloudWatch, under the cluster's own log group."""
    metric_days: int = Field(default=DEFAULT_METRIC_DAYS, ge=1, le=MAX_METRIC_DAYS)
    """Days that metrics are kept."""


class HyperPodHealthSettings(Model):
    """Our health checks of accelerated nodes beside HyperPod's, by a pod on each (docs/health.md)."""

    action: Literal["none", "taint", "repair"] = "none"
    """Action on a node with a fault: only record it, keep new pods away, or have HyperPod reboot or replace it too."""
    sweep: Annotated[HealthSweep, FROM_MAPPING] | None = None
    """Checks of idle nodes by a longer suite; absent: none."""


class HyperPodEksSettings(ControlPlaneSettings):
    """A HyperPod cluster that Kubernetes schedules, on an EKS cluster made for it."""

    pools: list[str] = Field(min_length=1)
    """Names of the pools whose nodes run training; each becomes an instance group."""
    image: NodeImageSettings | None = None
    """Machine image of the pools' nodes; absent: that of the service."""
    release_version: str | None = Field(default=None, pattern=HYPERPOD_RELEASE)
    """Release of HyperPod's own image on the pools' nodes; absent: the newest when a pool is created."""
    patching: Annotated[Patching, FROM_MAPPING] | None = None
    """Security patches of the pools' nodes while they are idle; absent: none."""
    scheduled_update: Annotated[ScheduledUpdate, FROM_MAPPING] | None = None
    """Updates of the pools' nodes to HyperPod's newest image at given times; absent: none."""
    kubernetes_version: str = DEFAULT_KUBERNETES_VERSION
    """Kubernetes version of the control plane; HyperPod supports fewer than EKS."""
    namespace: str = NAMESPACE
    """Namespace of the jobs; HyperPod resumes jobs in namespaces that begin with `hyperpod`."""
    node_recovery: Literal["automatic", "none"] = "automatic"
    """Recovery of faulty nodes: with `automatic`, HyperPod reboots or replaces them by itself."""
    continuous_provisioning: bool = True
    """Start with the nodes that there are and keep trying to get the rest."""
    health: HyperPodHealthSettings | None = None
    """Our health checks beside HyperPod's own; absent: none."""
    deep_health_checks: bool = True
    """Stress test accelerated nodes before they take jobs, where the type supports it (takes long)."""
    autoscaling: bool = False
    """HyperPod's managed Karpenter, which adds and removes nodes of the instance groups by what pods ask for."""
    autoscaled_pools: list[str] = []
    """Pools that start without a node, for Karpenter to fill; it empties groups of its that start with some."""
    labels: dict[str, dict[str, str]] = {}
    """Labels of nodes by pool, beside `trainforge/pool`."""
    taints: dict[str, list[TaintSettings]] = {}
    """Taints of nodes by pool; the runs of a pool tolerate them."""
    tiered_storage_percent: int | None = Field(default=None, ge=1, le=100)
    """Share of the nodes' memory that keeps checkpoints (managed tiered checkpointing); absent: none."""
    dependencies: Annotated[Dependencies, FROM_MAPPING] = Dependencies()
    """The parts of HyperPod's own chart that are installed."""
    training_operator: bool = True
    """HyperPod's training operator (an EKS add-on), which runs HyperPodPyTorchJobs; it brings cert-manager."""
    trainer: bool = True
    """Kubeflow Trainer, which runs TrainJobs."""
    jobs: list[Literal["kuberay"]] = Field(default=[], max_length=1)
    """Operators of jobs beside these: KubeRay (RayJob)."""
    add_ons: dict[str, Annotated[AddOn, FROM_MAPPING] | None] = {}
    """EKS add-ons by name, beside those that every cluster gets; null leaves one of these out."""
    bucket_claim: bool = True
    """Lets pods claim the data bucket as files, by Mountpoint for Amazon S3."""
    task_governance: TaskGovernanceSettings | None = None
    """Quotas and priorities of teams; absent: none."""
    observability: ObservabilitySettings | None = None
    """Metrics in Prometheus, by HyperPod's observability add-on; absent: none."""

    def running_nodes(self, pool: Pool) -> int:
        """Return how many nodes of a pool run whether there are jobs or not."""
        return 0 if pool.name in self.autoscaled_pools else pool.nodes

    def key_of_no_nodes(self, pool: Pool) -> str:
        """Return the key by which no node of a pool runs without jobs."""
        del pool
        return "autoscaled_pools"

    def leaves_lustre_on_tcp(self) -> bool:
        """Return False: the script of the nodes sets up their Lustre client for EFA."""
        return False
