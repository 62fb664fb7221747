"""Settings of an Amazon EKS cluster: its version, who reaches it, its node groups."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from catalog.eks import DEFAULT_KUBERNETES_VERSION, DEFAULT_SYSTEM_TYPE, POD_ADDRESSES
from settings.eks_software import SoftwareSettings
from settings.model import Model
from settings.network import Cidr, LogDays


class EndpointSettings(Model):
    """Where the Kubernetes API is reached; from inside the VPC always."""

    public: bool = False
    """Whether it has an address on the internet too, for `allowed_addresses` alone."""
    allowed_addresses: list[Cidr] = []
    """Address ranges that may reach the public endpoint."""


class AccessSettings(Model):
    """A role or user of AWS who may use the Kubernetes API, by an EKS access entry."""

    principal_arn: str
    """ARN of the IAM role or user."""
    policy: Literal["cluster-admin", "admin", "edit", "view"] = "edit"
    """What they may do: one of EKS's access policies."""
    namespaces: list[str] = []
    """Where; by default in the whole cluster."""


class SystemSettings(Model):
    """The nodes that carry what runs the cluster: DNS, operators, controllers."""

    instance_type: str = DEFAULT_SYSTEM_TYPE
    """EC2 instance type; on demand, spread over the zones."""
    nodes: int = Field(default=2, ge=1, le=100)
    """Number of nodes."""
    volume_gib: int = Field(default=100, ge=20, le=16384)
    """Size of each node's root volume in GiB."""


class RepairOverride(Model):
    """What is done about one finding of the node monitoring agent, in place of EKS's own choice."""

    condition: str = Field(min_length=1)
    """The node's condition, as the agent names it."""
    reason: str = Field(min_length=1)
    """The reason that the agent gives for it."""
    wait_minutes: int = Field(ge=1, le=1440)
    """Minutes for which it must hold."""
    action: Literal["replace", "reboot", "none"]
    """What happens then."""


class RepairSettings(Model):
    """How EKS replaces or reboots nodes that the node monitoring agent calls unhealthy."""

    stop_above_percent: int | None = Field(default=None, ge=1, le=100)
    """Share of a node group's nodes that are unhealthy at once, above which nothing is repaired; absent: EKS's own."""
    parallel_nodes: int | None = Field(default=None, ge=1, le=450)
    """Nodes that are repaired at a time; absent: EKS's own."""
    overrides: list[RepairOverride] = []
    """Actions of your own for single findings."""


class ScalingSettings(Model):
    """How many nodes of a pool stand, where that is not all of them all the time."""

    minimum: int = Field(default=0, ge=0, le=6758)
    """Nodes that an autoscaler leaves."""
    desired: int | None = Field(default=None, ge=0, le=6758)
    """Nodes that stand after a deployment; by default the pool's `nodes`. 0 until a capacity block has begun."""


class ControlPlaneSettings(Model):
    """What every EKS cluster has, whoever brings the nodes that train."""

    endpoint: EndpointSettings = EndpointSettings()
    """Where the Kubernetes API is reached."""
    access: list[AccessSettings] = []
    """Who may use the Kubernetes API, beside those whom AWS lets change access entries."""
    system: SystemSettings = SystemSettings()
    """The nodes that carry what runs the cluster."""
    pod_addresses_per_node: int = Field(default=POD_ADDRESSES, ge=1, le=250)
    """IPv4 addresses of the subnet that each node holds for its pods; it takes more when they are used up."""
    log_days: LogDays = 30
    """Days for which the control plane's logs are kept."""


class EksSettings(ControlPlaneSettings):
    """An EKS cluster with a managed node group for each pool."""

    pools: list[str] = Field(min_length=1)
    """Names of the pools whose nodes run training; each becomes a managed node group."""
    kubernetes_version: str = DEFAULT_KUBERNETES_VERSION
    """Kubernetes version of the control plane and of the nodes."""
    scaling: dict[str, ScalingSettings] = {}
    """Number of standing nodes by pool."""
    node_repair: RepairSettings | None = RepairSettings()
    """Repair of unhealthy nodes; null: none."""
    namespace: str = "training"
    """Namespace of the jobs."""
    software: SoftwareSettings = SoftwareSettings()
    """Add-ons, device plugins, operators of jobs, queues and volumes: what runs on the cluster beside the jobs."""
