"""Settings of an Amazon EKS cluster: its version, who reaches it, its node groups, its software."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from catalog.devices import Devices
from catalog.eks import DEFAULT_KUBERNETES_VERSION, DEFAULT_SYSTEM_TYPE, POD_ADDRESSES, AddOn
from catalog.pool import Pool
from settings.parser.fields import FROM_MAPPING
from settings.sections.cluster import ClusterSettings, FixedNodes
from settings.sections.model import Model
from settings.sections.network import Cidr, LogDays


class EndpointSettings(Model):
    """The endpoint of the Kubernetes API; it is always reachable from inside the VPC."""

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
    """The action for one finding of the node monitoring agent, in place of EKS's own choice."""

    condition: str = Field(min_length=1)
    """The node's condition, as the agent names it."""
    reason: str = Field(min_length=1)
    """The reason that the agent gives for it."""
    wait_minutes: int = Field(ge=1, le=1440)
    """Minutes for which it must hold."""
    action: Literal["replace", "reboot", "none"]
    """What happens then."""


class RepairSettings(Model):
    """Automatic repair: EKS replaces or reboots nodes that the node monitoring agent reports as unhealthy."""

    stop_above_percent: int | None = Field(default=None, ge=1, le=100)
    """Share of a node group's nodes that are unhealthy at once, above which nothing is repaired; absent: EKS's own."""
    parallel_nodes: int | None = Field(default=None, ge=1, le=450)
    """Nodes that are repaired at a time; absent: EKS's own."""
    overrides: list[RepairOverride] = []
    """Actions of your own for single findings."""


class ScalingSettings(Model):
    """The number of running nodes of a pool that does not run all of them all the time."""

    minimum: int = Field(default=0, ge=0, le=6758)
    """Nodes that an autoscaler leaves."""
    desired: int | None = Field(default=None, ge=0, le=6758)
    """Nodes that run after a deployment; by default the pool's `nodes`. 0 until a capacity block has begun."""


class ControlPlaneSettings(ClusterSettings):
    """Settings of the control plane, equal for every EKS cluster, whether EKS or HyperPod provides its nodes."""

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

    def fixed_nodes(self) -> Iterator[FixedNodes]:
        """Yield the nodes that carry what runs the cluster."""
        system, addresses = self.system, 1 + self.pod_addresses_per_node
        yield FixedNodes(
            "system", "the system nodes", system.instance_type, system.nodes, spread=True, addresses=addresses
        )

    def addresses_per_pool_node(self) -> int:
        """Return the addresses that each node holds for its pods."""
        return self.pod_addresses_per_node


class QueueSettings(Model):
    """A queue of jobs and its share of the cluster."""

    nodes: dict[str, Annotated[int, Field(ge=0, le=6758)]] = Field(min_length=1)
    """Whole nodes that are the queue's, by pool."""
    borrow: bool = True
    """Whether it also takes what other queues leave idle, and lends them what it leaves idle itself."""


JobOperator = Literal["trainer", "training-operator", "mpi-operator"]


class SoftwareSettings(Model):
    """Software that runs on the cluster beside the jobs."""

    add_ons: dict[str, Annotated[AddOn, FROM_MAPPING] | None] = {}
    """EKS add-ons by name, beside those that every cluster gets; null leaves one of these out."""
    devices: Annotated[Devices, FROM_MAPPING] = Devices()
    """What tells Kubernetes of devices."""
    jobs: list[JobOperator] = ["trainer"]
    """Operators of jobs: Kubeflow Trainer (TrainJob), its training operator v1 (PyTorchJob), the MPI operator."""
    queues: dict[str, QueueSettings] = {}
    """Queues by name, the first for jobs that name none; absent: no Kueue, and first come, first served."""
    bucket_claim: bool = True
    """Whether pods can claim the data bucket as files, by Mountpoint for Amazon S3."""
    cert_manager: bool = False
    """Whether cert-manager is installed; nothing else here needs it."""


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

    def running_nodes(self, pool: Pool) -> int:
        """Return how many nodes of a pool run whether there are jobs or not."""
        scaling = self.scaling.get(pool.name)
        return pool.nodes if scaling is None or scaling.desired is None else scaling.desired

    def key_of_no_nodes(self, pool: Pool) -> str:
        """Return the key by which no node of a pool runs without jobs."""
        del pool
        return "scaling"
