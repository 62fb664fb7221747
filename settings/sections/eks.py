"""Settings of an Amazon EKS cluster: its version, who reaches it, its node groups, its software."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from catalog.devices import Devices
from catalog.eks import DEFAULT_KUBERNETES_VERSION, DEFAULT_SYSTEM_TYPE, EKS_DEFAULT, POD_ADDRESSES, AddOn
from catalog.health_sweep import HealthSweep
from catalog.job_queues import Queue
from catalog.node_groups import Repair, Scaling
from catalog.node_updates import EKS_RELEASE, NodeUpdates
from catalog.pool import Pool
from settings.parser.fields import FROM_MAPPING
from settings.sections.cluster import ClusterSettings, FixedNodes
from settings.sections.images import NodeImageSettings
from settings.sections.model import Model
from settings.sections.network import Cidr, LogDays


class EndpointSettings(Model):
    """The endpoint of the Kubernetes API; it is always reachable from inside the VPC."""

    public: bool = False
    """Gives it an address on the internet too, for `allowed_addresses` alone."""
    allowed_addresses: list[Cidr] = []
    """Address ranges that may reach the public endpoint."""


class AccessSettings(Model):
    """A role or user of AWS who may use the Kubernetes API, by an EKS access entry."""

    principal_arn: str
    """ARN of the IAM role or user."""
    policy: Literal["cluster-admin", "admin", "edit", "view"] = "edit"
    """Their rights: one of EKS's access policies."""
    namespaces: list[str] = []
    """Namespaces in which they have these rights; by default the whole cluster."""


class SystemSettings(Model):
    """The system nodes, which run DNS, operators and controllers."""

    instance_type: str = DEFAULT_SYSTEM_TYPE
    """EC2 instance type; on demand, spread over the zones."""
    nodes: int = Field(default=2, ge=1, le=100)
    """Number of nodes."""
    volume_gib: int = Field(default=100, ge=20, le=16384)
    """Size of each node's root volume in GiB."""


AddOnVersion = Annotated[str, Field(pattern=rf"^(v\d+(\.\d+){{1,3}}-eksbuild\.\d+|{EKS_DEFAULT})$")]


class ControlPlaneSettings(ClusterSettings):
    """Settings of the control plane, equal for every EKS cluster, whether EKS or HyperPod provides its nodes.

    A section of a cluster with Kubernetes derives from it, and has the fields `kubernetes_version` and `namespace`.
    """

    if TYPE_CHECKING:
        # Fields of each section, with defaults of their own.
        @property
        def kubernetes_version(self) -> str: ...

        @property
        def namespace(self) -> str: ...

    endpoint: EndpointSettings = EndpointSettings()
    """Endpoint of the Kubernetes API."""
    access: list[AccessSettings] = []
    """IAM roles and users that may use the Kubernetes API, beside those whom AWS lets change access entries."""
    system: SystemSettings = SystemSettings()
    """The system nodes."""
    pod_addresses_per_node: int = Field(default=POD_ADDRESSES, ge=1, le=250)
    """IPv4 addresses of the subnet that each node holds for its pods; it takes more when they are used up."""
    add_on_versions: dict[str, AddOnVersion] = {}
    """Versions of the EKS add-ons that the stack installs, by name, where the pinned ones will not do; `eks-default`
    for the one that EKS selects."""
    log_days: LogDays = 30
    """Days for which the control plane's logs are kept."""

    def fixed_nodes(self) -> Iterator[FixedNodes]:
        """Yield the system nodes."""
        system, addresses = self.system, 1 + self.pod_addresses_per_node
        yield FixedNodes(
            "system", "the system nodes", system.instance_type, system.nodes, spread=True, addresses=addresses
        )

    def addresses_per_pool_node(self) -> int:
        """Return the addresses that each node holds for its pods."""
        return self.pod_addresses_per_node


JobOperator = Literal["trainer", "training-operator", "mpi-operator", "kuberay"]


class SoftwareSettings(Model):
    """Software that runs on the cluster beside the jobs."""

    add_ons: dict[str, Annotated[AddOn, FROM_MAPPING] | None] = {}
    """EKS add-ons by name, beside those that every cluster gets; null leaves one of these out."""
    devices: Annotated[Devices, FROM_MAPPING] = Devices()
    """The software that registers devices with Kubernetes."""
    jobs: list[JobOperator] = ["trainer"]
    """Operators of jobs: Kubeflow Trainer (TrainJob), its training operator v1 (PyTorchJob), the MPI operator, KubeRay
    (RayJob)."""
    queues: dict[str, Annotated[Queue, FROM_MAPPING]] = {}
    """Queues by name, the first for jobs that name none; absent: no Kueue, and first come, first served."""
    bucket_claim: bool = True
    """Lets pods claim the data bucket as files, by Mountpoint for Amazon S3."""
    cert_manager: bool = False
    """Installs cert-manager; nothing else here needs it."""

    @field_validator("queues")
    @classmethod
    def _name_queues(cls, queues: dict[str, Queue]) -> dict[str, Queue]:
        """Give each queue its name."""
        return {name: replace(queue, name=name) for name, queue in queues.items()}


class NodeHealthSettings(Model):
    """Our health checks of accelerated nodes, by a pod on each every five minutes (docs/health.md)."""

    action: Literal["none", "taint"] = "none"
    """Action on a node with a fault: only record it, or keep new pods away by a taint too."""
    sweep: Annotated[HealthSweep, FROM_MAPPING] | None = None
    """Checks of idle nodes by a longer suite; absent: none."""


class EksSettings(ControlPlaneSettings):
    """An EKS cluster with a managed node group for each pool."""

    pools: list[str] = Field(min_length=1)
    """Names of the pools whose nodes run training; each becomes a managed node group."""
    image: NodeImageSettings | None = None
    """Machine image of the pools' nodes; absent: that of the service."""
    release_version: str | None = Field(default=None, pattern=EKS_RELEASE)
    """Release of EKS' own image on the nodes that have no other; absent: the newest when a node group is created."""
    updates: Annotated[NodeUpdates, FROM_MAPPING] = NodeUpdates()
    """Replacement of nodes when they get another image."""
    kubernetes_version: str = DEFAULT_KUBERNETES_VERSION
    """Kubernetes version of the control plane and of the nodes."""
    scaling: dict[str, Annotated[Scaling, FROM_MAPPING]] = {}
    """Number of running nodes by pool."""
    node_repair: Annotated[Repair, FROM_MAPPING] | None = Repair()
    """Repair of unhealthy nodes; null: none."""
    health: NodeHealthSettings | None = None
    """Our health checks beside EKS's own; absent: none."""
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
