"""Settings of a Slurm cluster by AWS ParallelCluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from catalog.instances import DEFAULT_CONTROLLER_TYPE, DEFAULT_LOGIN_TYPE
from catalog.parallelcluster import Monitoring, SlurmOptions
from catalog.pool import CapacityBlock, Pool
from settings.parser.fields import FROM_MAPPING
from settings.sections.cluster import ClusterSettings, FixedNodes
from settings.sections.hyperpod import UserSettings
from settings.sections.model import Model
from settings.sections.network import Cidr

OperatingSystem = Literal["alinux2023", "ubuntu2204", "ubuntu2404", "rhel8", "rhel9", "rocky8", "rocky9"]
"""Source: aws-parallelcluster, constants.SUPPORTED_OSES."""


class HeadNodeSettings(Model):
    """The node that runs slurmctld."""

    instance_type: str = DEFAULT_CONTROLLER_TYPE
    """EC2 instance type of the head node."""
    volume_gib: int = Field(default=500, ge=1, le=16384)
    """Size of its root volume in GiB."""
    availability_zone: str | None = None
    """Its zone; by default the first of `availability_zones`."""


class LoginPoolSettings(Model):
    """Nodes that people log in to, behind one load balancer."""

    instance_type: str = DEFAULT_LOGIN_TYPE
    """EC2 instance type of these nodes."""
    nodes: int = Field(default=1, ge=0, le=100)
    """Number of nodes; 0 stops them, which ParallelCluster asks for before some changes."""
    availability_zone: str | None = None
    """Their zone; by default the first of `availability_zones`."""


class ImageSettings(Model):
    """The operating system and the machine image of nodes."""

    os: OperatingSystem = "ubuntu2204"
    """Operating system."""
    ami_id: str | None = None
    """An image of your own (`ami-...`) for all nodes; by default ParallelCluster's official one."""
    source: str | None = Field(default=None, alias="from")
    """Name of an image of the section `images` for compute nodes, which an update can change, unlike `ami_id`."""
    version: int | None = Field(default=None, ge=1)
    """Version of that image's SSM parameter; absent: the newest image whenever the stack is deployed."""

    @property
    def own(self) -> bool:
        """True if compute nodes start from another image than ParallelCluster's official one."""
        return self.ami_id is not None or self.source is not None


class SshSettings(Model):
    """Logging in by SSH, beside Session Manager, which needs neither a key nor an open port."""

    key_name: str | None = None
    """Name of an EC2 key pair for the image's own user; by default none."""
    allowed_addresses: list[Cidr] = []
    """Address ranges that may connect to port 22 of the head node and of login nodes; by default none."""


class ContainerSettings(Model):
    """Containers in Slurm jobs by enroot and pyxis, which ParallelCluster's images bring and leave off."""

    cache_path: str = "/fsx/enroot"
    """Shared folder where imported images are kept."""
    runtime_path: str = "/scratch/enroot"
    """Local folder where running containers are unpacked, on a type's own disks; the root volume's without them."""


class NodeHealthSettings(Model):
    """Health checks of compute nodes: before and after each job, and every five minutes (docs/health.md)."""

    action: Literal["none", "drain"] = "none"
    """Action on a node that is not usable: only record it, or drain it."""


class NodeSettings(Model):
    """Node set-up beyond ParallelCluster's own, by a small program that each node runs."""

    users: list[UserSettings] = []
    """People on every node; 'directory' has people too, for all clusters."""
    containers: ContainerSettings | None = ContainerSettings()
    """Settings of enroot and pyxis; null: both stay off."""
    packages: list[str] = []
    """Extra Ubuntu packages on every node."""
    node_exporter: bool = True
    """Prometheus' exporter of a node's metrics, on port 9100 for the cluster's own nodes."""
    health: NodeHealthSettings | None = None
    """Our health checks beside ParallelCluster's own of GPUs; absent: none."""


class SuppressedValidator(Model):
    """One of ParallelCluster's own validators that is not to run."""

    validator: str
    """Name of its type, such as ExistingFsxNetworkingValidator; never ALL."""
    reason: str = Field(min_length=10)
    """Reason for which its verdict does not matter."""


class ParallelClusterSettings(ClusterSettings):
    """A Slurm cluster by AWS ParallelCluster."""

    pools: list[str] = Field(min_length=1)
    """Names of the pools whose nodes are its compute nodes; each becomes a compute resource."""
    partitions: dict[str, str] = {}
    """Slurm partition (queue) of a pool; by default the pool's own name. Pools may share one."""
    min_nodes: dict[str, int] = {}
    """Nodes of a pool that always run, whether jobs wait or not; by default all that are reserved, and none else."""
    head_node: HeadNodeSettings = HeadNodeSettings()
    """The head node."""
    login: dict[str, LoginPoolSettings] = {"login": LoginPoolSettings()}
    """Pools of login nodes by name; empty: people log in to the head node."""
    image: ImageSettings = ImageSettings()
    """Operating system and image of all nodes."""
    ssh: SshSettings = SshSettings()
    """SSH; people log in by Session Manager without any of it."""
    slurm: Annotated[SlurmOptions, FROM_MAPPING] = SlurmOptions()
    """Options of Slurm: when idle nodes end, what updates do to nodes at work, lines of slurm.conf."""
    monitoring: Annotated[Monitoring, FROM_MAPPING] = Monitoring()
    """Metrics, logs, dashboard and alarms in CloudWatch."""
    node_setup: NodeSettings | None = NodeSettings()
    """Set-up of nodes beside ParallelCluster's own; null: no script of ours runs."""
    suppress_validators: list[SuppressedValidator] = []
    """Validators of ParallelCluster that do not run at a deployment, each with a reason."""

    def fixed_nodes(self) -> Iterator[FixedNodes]:
        """Yield the head node and the login nodes."""
        head = self.head_node
        yield FixedNodes(
            "head_node", "the head node", head.instance_type, availability_zone=head.availability_zone
        )
        for name, login in self.login.items():
            yield FixedNodes(
                f"login.{name}",
                f"login pool '{name}'",
                login.instance_type,
                login.nodes,
                login.availability_zone,
            )

    def running_nodes(self, pool: Pool) -> int:
        """Return how many nodes of a pool run whether there are jobs or not: by default those that are reserved."""
        # What is reserved is paid for anyway, and of a Capacity Block ParallelCluster demands it.
        return self.min_nodes.get(pool.name, pool.nodes if pool.reserved_by else 0)

    def key_of_no_nodes(self, pool: Pool) -> str:
        """Return the key by which no node of a pool runs without jobs; those of a Capacity Block always run."""
        return "" if isinstance(pool.capacity, CapacityBlock) else "min_nodes"

    def leaves_lustre_on_tcp(self) -> bool:
        """Return whether nothing sets up the Lustre client of the nodes for EFA; an image of one's own can."""
        return not self.image.own
