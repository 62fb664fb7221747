"""Settings of SageMaker HyperPod orchestrated by Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from catalog.accounting import ExternalDatabase
from catalog.instances import DEFAULT_CONTROLLER_TYPE, DEFAULT_LOGIN_TYPE
from catalog.node_updates import Patching, ScheduledUpdate
from settings.parser.fields import FROM_MAPPING
from settings.sections.cluster import ClusterSettings, FixedNodes
from settings.sections.images import NodeImageSettings
from settings.sections.model import Model


class ControllerSettings(Model):
    """The node that runs slurmctld."""

    instance_type: str = DEFAULT_CONTROLLER_TYPE
    """EC2 instance type of the controller."""
    volume_gib: int = Field(default=500, ge=1, le=16384)
    """Size of its data volume in GiB."""


class LoginSettings(Model):
    """The nodes that people log in to."""

    instance_type: str = DEFAULT_LOGIN_TYPE
    """EC2 instance type of the login nodes."""
    nodes: int = Field(default=1, ge=1, le=100)
    """Number of login nodes."""
    volume_gib: int = Field(default=500, ge=1, le=16384)
    """Size of each login node's data volume in GiB."""


class UserSettings(Model):
    """A person on every node, with the same id everywhere."""

    name: str
    """Login name: lower case letters, digits, `_` and `-`, beginning with a letter or `_`."""
    uid: int = Field(ge=2000, le=60000)
    """User and group id, equal on all nodes; ids below 2000 are those of the image's own accounts."""
    ssh_public_key: str | None = None
    """OpenSSH public key for logging in between nodes."""
    sudo: bool = False
    """Lets the person become root."""


class ContainerSettings(Model):
    """Containers in Slurm jobs by enroot and pyxis."""

    cache_path: str = "/fsx/enroot"
    """Shared folder where imported images are kept."""
    runtime_path: str = "/opt/dlami/nvme/enroot"
    """Local folder where running containers are unpacked; the root volume's is used where it is absent."""


class NodeHealthSettings(Model):
    """Health checks of nodes that run jobs, by a timer every five minutes (docs/health.md)."""

    action: Literal["none", "drain", "repair"] = "none"
    """Action on a node that is not usable: only record it, drain it, or let HyperPod reboot or replace it."""


class NodeSetupSettings(Model):
    """Node set-up that the HyperPod API does not offer; a small script does it after a node's initialisation."""

    users: list[UserSettings] = []
    """People on every node."""
    containers: ContainerSettings | None = None
    """Settings of enroot and pyxis; absent: as the image has them."""
    packages: list[str] = []
    """Extra Ubuntu packages on every node."""
    health: NodeHealthSettings | None = None
    """Our health checks beside HyperPod's own; absent: none."""


class LifecycleScripts(Model):
    """A folder of lifecycle scripts of your own, in place of the node set-up."""

    directory: str
    """Path of the folder, relative to the configuration file."""
    entry: str = "on_create.sh"
    """Script in it that every node runs at creation."""


class HyperPodSettings(ClusterSettings):
    """A HyperPod cluster with the Slurm orchestrator, configured through the API."""

    pools: list[str] = Field(min_length=1)
    """Names of the pools whose nodes are its workers; each becomes an instance group."""
    image: NodeImageSettings | None = None
    """Machine image of all nodes, the controller's too; absent: that of the service."""
    patching: Annotated[Patching, FROM_MAPPING] | None = None
    """Security patches of the pools' nodes while they are idle; absent: none."""
    scheduled_update: Annotated[ScheduledUpdate, FROM_MAPPING] | None = None
    """Updates of the pools' nodes to HyperPod's newest image at given times; absent: none."""
    partitions: dict[str, str] = {}
    """Slurm partition of a pool; by default the pool's own name."""
    controller: ControllerSettings = ControllerSettings()
    """The controller node."""
    login: LoginSettings | None = LoginSettings()
    """The login nodes; null: none, people log in to the controller."""
    node_recovery: Literal["automatic", "none"] = "automatic"
    """Recovery of faulty nodes: with `automatic`, HyperPod reboots or replaces them by itself."""
    continuous_provisioning: bool = True
    """Start with the nodes that there are and keep trying to get the rest."""
    deep_health_checks: bool = True
    """Stress test accelerated nodes before they take jobs, where the type supports it (takes long)."""
    slurm_config_strategy: Literal["managed", "overwrite", "merge"] = "managed"
    """Owner of slurm.conf's partitions: HyperPod alone, HyperPod over manual edits, or both merged."""
    accounting: Annotated[ExternalDatabase, FROM_MAPPING] | None = None
    """External accounting database; absent: one on the controller."""
    node_setup: NodeSetupSettings | None = None
    """Extra configuration of nodes; absent: no script runs."""
    lifecycle_scripts: LifecycleScripts | None = None
    """Lifecycle scripts of your own."""

    def fixed_nodes(self) -> Iterator[FixedNodes]:
        """Yield the controller and the login nodes.

        The service may put them into any of the cluster's subnets; the first zone's is always among them.
        """
        yield FixedNodes("controller", "the controller", self.controller.instance_type)
        if self.login:
            yield FixedNodes("login", "the login nodes", self.login.instance_type, self.login.nodes)

    def reads_secrets(self) -> bool:
        """Return whether the controller reads the password of an accounting database."""
        return self.accounting is not None

    def leaves_lustre_on_tcp(self) -> bool:
        """Return whether nothing sets up the Lustre client of the nodes for EFA; lifecycle scripts can."""
        return self.lifecycle_scripts is None
