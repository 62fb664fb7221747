"""Values of a ParallelCluster that no update changes, or only with nodes stopped, and where both sides have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.placement import placement
from settings.deployed import UNKNOWN, Deployed
from settings.deployment import Settings
from settings.rules.selection import facts
from settings.sections.parallelcluster import ParallelClusterSettings

Read = Callable[[Settings, ParallelClusterSettings], object]

OWN = "one of this deployment"
"""A file system or network that the deployment makes: its id is known to AWS only."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One value that both the settings and the cluster's configuration have.

    `path` is where it is in the settings, `keys` where in the cluster's configuration, `read` takes it from
    settings in the form of the cluster's configuration (None: absent there). With `presence` only matters whether
    there is any. `known` is False where settings do not tell the value that the cluster would have; `chosen` is then
    what settings of two times are compared by. `part` makes the value out of the value at `keys`. `matters` says of
    the values before and after whether ParallelCluster minds the step.
    """

    path: str
    what: str
    keys: tuple[str, ...]
    read: Read
    presence: bool = False
    known: Callable[[Settings], bool] = lambda _settings: True
    chosen: Read | None = None
    part: Callable[[object], object] = lambda found: found
    matters: Callable[[object, object], bool] = lambda _before, _after: True


@dataclass(frozen=True, slots=True)
class Change:
    """A value that an update would change."""

    fact: Fact
    before: object
    after: object


def changed(fact: Fact, settings: Settings, deployed: Deployed) -> Change | None:
    """Return what an update would change about a fact; None where nothing, or where it is not known."""
    cluster = settings.parallelcluster
    assert cluster
    read = fact.chosen if deployed.settings and fact.chosen else fact.read
    after = read(settings, cluster)
    before = _before(fact, read, settings, deployed)
    if before is UNKNOWN and fact.chosen and fact.known(settings) and after is not None:
        # A reference to what the deployment makes gives way to an id.
        before = OWN
    if UNKNOWN in (before, after):
        return None
    if fact.presence:
        before, after = before is not None, after is not None
    # CloudFormation hands numbers and switches to ParallelCluster as text.
    if str(before).lower() == str(after).lower() or not fact.matters(before, after):
        return None
    return Change(fact, before, after)


def _before(fact: Fact, read: Read, settings: Settings, deployed: Deployed) -> object:
    if deployed.cluster is not None:
        return fact.part(deployed.at(fact.keys)) if fact.known(settings) else UNKNOWN
    then = deployed.settings
    if then is None or then.parallelcluster is None:
        return UNKNOWN
    return read(then, then.parallelcluster)


def both(before: object, after: object) -> bool:
    """Return whether there is a value before and after: what is added or taken away is another matter."""
    return before is not None and after is not None


def _zone(settings: Settings, cluster: ParallelClusterSettings) -> str:
    return cluster.head_node.availability_zone or settings.availability_zones[0]


def _subnet(settings: Settings, cluster: ParallelClusterSettings) -> object:
    existing = settings.network.existing
    return existing.private_subnets.get(_zone(settings, cluster)) if existing else None


def _home_comes_or_goes(before: object, after: object) -> bool:
    return not both(before, after) and "/home" in (before, after)


_MOUNTS = {"lustre": ("fsx", "the mount of Lustre"), "openzfs": ("home", "the mount of homes")}


def _mount(kind: str, matters: Callable[[object, object], bool]) -> Fact:
    name, what = _MOUNTS[kind]

    def read(settings: Settings, _: ParallelClusterSettings) -> object:
        section = getattr(settings.storage, kind)
        return section.mount_path if section else None

    return Fact(f"storage.{kind}", what, ("SharedStorage", name, "MountDir"), read, matters=matters)


def _file_system(kind: str, key: str, what: str, *keys: str) -> Fact:
    def read(settings: Settings, _: ParallelClusterSettings | None = None) -> object:
        section = getattr(settings.storage, kind)
        return getattr(section.existing, key) if section and section.existing else None

    def chosen(settings: Settings, _: ParallelClusterSettings) -> object:
        return read(settings) or (OWN if getattr(settings.storage, kind) else None)

    def known(settings: Settings) -> bool:
        return read(settings) is not None

    where = ("SharedStorage", _MOUNTS[kind][0], *keys)
    return Fact(f"storage.{kind}", what, where, read, known=known, chosen=chosen, matters=both)


def _suffix(settings: Settings, _: ParallelClusterSettings) -> object:
    if not settings.directory:
        return None
    return ",".join(f"dc={label}" for label in settings.directory_domain.split("."))


# Source of both lists: aws-parallelcluster, schemas/cluster_schema.py, the update policy of each key, and
# config/update_policy.py. UNSUPPORTED and a /home that comes or goes are refused whatever one does; the fleet's and the
# login nodes' are taken while those nodes are stopped.
HEAD_NODE: tuple[Fact, ...] = (
    Fact(
        "name",
        "the cluster's name",
        ("Iam", "ResourcePrefix"),
        lambda s, _: f"/parallelcluster/{s.name}-slurm/",
    ),
    Fact("parallelcluster.image.os", "the operating system", ("Image", "Os"), lambda _, c: c.image.os),
    Fact("parallelcluster.image.ami_id", "the image", ("Image", "CustomAmi"), lambda _, c: c.image.ami_id),
    Fact(
        "parallelcluster.head_node.instance_type",
        "its instance type",
        ("HeadNode", "InstanceType"),
        lambda _, c: c.head_node.instance_type,
    ),
    Fact(
        "parallelcluster.head_node.volume_gib",
        "the size of its root volume",
        ("HeadNode", "LocalStorage", "RootVolume", "Size"),
        lambda _, c: c.head_node.volume_gib,
    ),
    Fact(
        "parallelcluster.head_node.availability_zone",
        "its subnet",
        ("HeadNode", "Networking", "SubnetId"),
        _subnet,
        known=lambda settings: settings.network.existing is not None,
        chosen=lambda s, c: _subnet(s, c) or _zone(s, c),
    ),
    Fact(
        "parallelcluster.ssh.key_name",
        "its key pair",
        ("HeadNode", "Ssh", "KeyName"),
        lambda _, c: c.ssh.key_name,
    ),
    Fact(
        "parallelcluster.node_setup",
        "whether it runs trainforge's set-up",
        ("HeadNode", "CustomActions", "OnNodeConfigured"),
        lambda s, c: c.node_setup or s.directory or s.accounting,
        presence=True,
    ),
    Fact(
        "directory",
        "whether it uses a directory",
        ("HeadNode", "CustomActions", "OnNodeStart"),
        lambda s, _: s.directory,
        presence=True,
    ),
    Fact(
        "network.isolated",
        "how nodes are named",
        ("Scheduling", "SlurmSettings", "Dns"),
        lambda s, _: s.network.isolated or None,
        presence=True,
    ),
    _mount("lustre", _home_comes_or_goes),
    _mount("openzfs", _home_comes_or_goes),
    _file_system("lustre", "file_system_id", "the Lustre file system", "FsxLustreSettings", "FileSystemId"),
    _file_system("openzfs", "volume_id", "the volume of homes", "FsxOpenZfsSettings", "VolumeId"),
)
"""Facts that ParallelCluster changes by no update: another head node, in another cluster, has the new value."""

_SLURM = ("Scheduling", "SlurmSettings")
STOPPED: tuple[Fact, ...] = (
    Fact(
        "parallelcluster.slurm.idle_minutes",
        "the idle time after which nodes are terminated",
        (*_SLURM, "ScaledownIdletime"),
        lambda _, c: c.slurm.idle_minutes,
    ),
    Fact(
        "parallelcluster.monitoring.detailed",
        "detailed monitoring",
        ("Monitoring", "DetailedMonitoring"),
        lambda _, c: c.monitoring.detailed,
    ),
    Fact(
        "accounting",
        "the accounting database",
        (*_SLURM, "Database"),
        lambda s, _: s.accounting,
        presence=True,
    ),
    Fact("directory", "the directory", ("DirectoryService",), lambda s, _: s.directory, presence=True),
    Fact(
        "directory.domain",
        "the directory's suffix",
        ("DirectoryService", "DomainName"),
        _suffix,
        matters=both,
    ),
    _mount("lustre", both),
    _mount("openzfs", both),
)
"""Facts that ParallelCluster changes while all compute nodes are stopped, and login nodes too for what they share."""


@dataclass(frozen=True, slots=True)
class DeployedPools:
    """The parts of a cluster: pools with the partition that each is in, and pools of login nodes by name."""

    resources: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    logins: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Count:
    """Nodes of a pool: all, and those that always run."""

    nodes: int
    kept: int

    def __str__(self) -> str:
        return f"{self.nodes} nodes, {self.kept} of them always running"


def pools_of(settings: Settings) -> DeployedPools:
    """Return what settings ask for."""
    cluster = settings.parallelcluster
    if cluster is None:
        return DeployedPools()
    queues = ((cluster.partitions.get(name, name), name) for name in cluster.pools if name in settings.pools)
    return DeployedPools(frozenset(queues), frozenset(cluster.login))


def deployed_pools(deployed: Deployed) -> DeployedPools:
    """Return what is deployed."""
    if deployed.settings:
        return pools_of(deployed.settings)
    queues = _items(deployed.at(("Scheduling", "SlurmQueues")))
    return DeployedPools(
        frozenset(
            (str(queue.get("Name")), str(resource.get("Name")))
            for queue in queues
            for resource in _items(queue.get("ComputeResources"))
        ),
        frozenset(str(pool.get("Name")) for pool in _items(deployed.at(("LoginNodes", "Pools")))),
    )


def _items(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def login_nodes_before(deployed: Deployed | None, name: str) -> int:
    """Return how many login nodes a pool has that is deployed; one where that is not known."""
    if deployed and deployed.settings and deployed.settings.parallelcluster:
        return deployed.settings.parallelcluster.login[name].nodes
    count = deployed.at(("LoginNodes", "Pools", name, "Count")) if deployed else None
    return int(count) if isinstance(count, int | str) and str(count).isdigit() else 1


def resource_facts(queue: str, name: str) -> Iterator[Fact]:
    """Yield facts of a pool that is in the same partition before and after."""
    keys = ("Scheduling", "SlurmQueues", queue, "ComputeResources", name)

    def threads(then: Settings, _: ParallelClusterSettings) -> object:
        pool = then.pools[name]
        found = facts(pool.instance_type)
        return True if pool.threads_per_core == 1 and found and found.threads_per_core > 1 else None

    def group(then: Settings, _: ParallelClusterSettings) -> object:
        pool = then.pools[name]
        found = facts(pool.instance_type)
        if not found or not found.supports_efa or pool.capacity.source == "capacity-block":
            return None
        return placement(pool).cluster_group

    yield Fact(
        f"pools.{name}.instance_type",
        f"the instance type of pool '{name}'",
        (*keys, "InstanceType"),
        lambda then, _: then.pools[name].instance_type,
        matters=both,
    )
    yield Fact(
        f"pools.{name}.threads_per_core",
        f"whether hyper-threads of pool '{name}' are off",
        (*keys, "DisableSimultaneousMultithreading"),
        threads,
    )
    yield Fact(
        f"pools.{name}",
        f"the placement group of pool '{name}'",
        (*keys, "Networking", "PlacementGroup", "Enabled"),
        group,
        # One that is taken away: nodes may still be in it.
        matters=lambda before, _: str(before).lower() == "true",
    )
    yield Fact(
        f"pools.{name}.nodes",
        f"the size of pool '{name}'",
        keys,
        lambda then, cluster: _count(then, cluster, name),
        part=_count_of,
        matters=_shrinks,
    )


def _count(then: Settings, cluster: ParallelClusterSettings, name: str) -> object:
    if cluster.slurm.update_strategy == "terminate":
        return UNKNOWN
    pool = then.pools[name]
    return Count(pool.nodes, cluster.running_nodes(pool))


def _count_of(section: object) -> object:
    if not isinstance(section, Mapping):
        return UNKNOWN
    numbers = [section.get(key) for key in ("MaxCount", "MinCount")]
    if not all(str(number).isdigit() for number in numbers):
        return UNKNOWN
    return Count(*(int(str(number)) for number in numbers))


def _shrinks(before: object, after: object) -> bool:
    """Return whether named nodes go: some of all, of those kept, or of those that come with jobs."""
    assert isinstance(before, Count)
    assert isinstance(after, Count)
    more, kept = after.nodes - before.nodes, after.kept - before.kept
    return more < 0 or (kept != 0 and (more == 0 or more < kept))


def login_facts(name: str) -> Iterator[Fact]:
    """Yield facts of a pool of login nodes that is there before and after."""
    keys = ("LoginNodes", "Pools", name)

    def zone(then: Settings, cluster: ParallelClusterSettings) -> str:
        return cluster.login[name].availability_zone or then.availability_zones[0]

    def subnet(then: Settings, cluster: ParallelClusterSettings) -> object:
        existing = then.network.existing
        return existing.private_subnets.get(zone(then, cluster)) if existing else None

    yield Fact(
        f"parallelcluster.login.{name}.instance_type",
        f"the instance type of login pool '{name}'",
        (*keys, "InstanceType"),
        lambda _, cluster: cluster.login[name].instance_type,
    )
    yield Fact(
        f"parallelcluster.login.{name}.availability_zone",
        f"the subnet of login pool '{name}'",
        (*keys, "Networking", "SubnetIds"),
        subnet,
        known=lambda settings: settings.network.existing is not None,
        chosen=lambda then, cluster: subnet(then, cluster) or zone(then, cluster),
        part=_first,
    )


def _first(value: object) -> object:
    first = value[0] if isinstance(value, list) and value else None
    return first if isinstance(first, str) else UNKNOWN
