"""Rules on what an update would do to a ParallelCluster that stands; silent where none is given to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from catalog.versions import PARALLELCLUSTER
from settings.checks.rule import Problem, Subject, error, warning
from settings.deployed import UNKNOWN, Deployed
from settings.deployment import Settings
from settings.parallelcluster import ParallelClusterSettings
from settings.values import shown

Read = Callable[[Settings, ParallelClusterSettings], object]


@dataclass(frozen=True, slots=True)
class Fact:
    """One value that both the settings and the cluster's configuration have.

    `path` is where it stands in the settings, `keys` where in the cluster's configuration, `read` takes it from
    settings in the form of the cluster's configuration (None: absent there). With `presence` only matters whether
    there is any. `known` is False where settings do not tell the value that the cluster would have; `chosen` is then
    what settings of two times are compared by.
    """

    path: str
    what: str
    keys: tuple[str, ...]
    read: Read
    presence: bool = False
    known: Callable[[Settings], bool] = lambda _settings: True
    chosen: Read | None = None


def _zone(settings: Settings, cluster: ParallelClusterSettings) -> str:
    return cluster.head_node.availability_zone or settings.availability_zones[0]


def _subnet(settings: Settings, cluster: ParallelClusterSettings) -> object:
    existing = settings.network.existing
    return existing.private_subnets.get(_zone(settings, cluster)) if existing else None


# Source of both lists: aws-parallelcluster, schemas/cluster_schema.py, the update policy of each key. UNSUPPORTED is
# refused whatever one does; the fleet's and the login nodes' are taken while those nodes are stopped.
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
        chosen=_zone,
    ),
    Fact(
        "parallelcluster.ssh.key_name",
        "its key pair",
        ("HeadNode", "Ssh", "KeyName"),
        lambda _, c: c.ssh.key_name,
    ),
    Fact(
        "parallelcluster.extension",
        "whether it runs our set-up",
        ("HeadNode", "CustomActions", "OnNodeConfigured"),
        lambda s, c: c.extension or s.directory,
        presence=True,
    ),
    Fact(
        "directory",
        "whether it asks a directory",
        ("HeadNode", "CustomActions", "OnNodeStart"),
        lambda s, _: s.directory,
        presence=True,
    ),
    Fact(
        "network.closed",
        "how nodes are named",
        ("Scheduling", "SlurmSettings", "Dns"),
        lambda s, _: s.network.closed or None,
        presence=True,
    ),
)
"""What ParallelCluster changes by no update: another head node, in another cluster, has the new value."""

_SLURM = ("Scheduling", "SlurmSettings")
STOPPED: tuple[Fact, ...] = (
    Fact(
        "parallelcluster.slurm.idle_minutes",
        "after how long idle nodes go",
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
        "storage.lustre",
        "the mount of Lustre",
        ("SharedStorage", "fsx", "MountDir"),
        lambda s, _: s.storage.lustre.mount_path if s.storage.lustre else None,
    ),
    Fact(
        "storage.openzfs",
        "the mount of homes",
        ("SharedStorage", "home", "MountDir"),
        lambda s, _: s.storage.openzfs.mount_path if s.storage.openzfs else None,
    ),
)
"""What ParallelCluster changes while all compute nodes are stopped, and login nodes too for what they share."""


_WAY_OUT = (
    "destroy ParallelClusterStack first, which keeps homes and shared data, and acknowledge 'head-node-replaced' with "
    "the reason"
)


@error("head-node-replaced", too_strict=True, compares=True)
def _replaced(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster changes the head node by no update: the deployment would fail and be rolled back.

    Too strict for who destroys the cluster first; acknowledge it for that deployment.
    """
    made_by = subject.deployed.version if subject.deployed else ""
    if subject.settings.parallelcluster and made_by and made_by != PARALLELCLUSTER:
        yield Problem(
            "parallelcluster",
            PARALLELCLUSTER,
            f"the cluster that stands was made by ParallelCluster {made_by}, and {PARALLELCLUSTER} updates none of "
            "another version",
            _WAY_OUT,
        )
    for fact, before, after in _changes(subject, HEAD_NODE):
        yield Problem(
            fact.path,
            after,
            f"the head node of the cluster that stands would have to be replaced: {fact.what} changes "
            f"{_step(fact, before, after)}, and ParallelCluster refuses that",
            f"take it back; or {_WAY_OUT}",
        )


@warning("fleet-stop-needed", compares=True)
def _stopped(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster makes some changes only while no compute node runs, and some while no login node does."""
    facts = [*STOPPED, *_pool_facts(subject.settings)]
    for fact, before, after in _changes(subject, facts):
        yield Problem(
            fact.path,
            after,
            f"{fact.what} changes {_step(fact, before, after)}, which ParallelCluster does while all compute nodes are "
            "stopped, and login nodes where they share it",
            "stop them before the deployment ('pcluster update-compute-fleet --status STOP_REQUESTED')",
        )


def _pool_facts(settings: Settings) -> Iterator[Fact]:
    """Yield facts of pools that are there before and after: a new pool needs nothing stopped."""
    cluster = settings.parallelcluster
    for name in cluster.pools if cluster else ():
        if cluster and name in settings.pools:
            queue = cluster.partitions.get(name, name)
            keys = ("Scheduling", "SlurmQueues", queue, "ComputeResources", name, "InstanceType")

            def read(then: Settings, _: ParallelClusterSettings, name: str = name) -> object:
                return then.pools[name].instance_type if name in then.pools else None

            yield Fact(f"pools.{name}.instance_type", f"the instance type of pool '{name}'", keys, read)


def _changes(
    subject: Subject, facts: Iterator[Fact] | list[Fact] | tuple[Fact, ...]
) -> Iterator[tuple[Fact, object, object]]:
    settings, deployed = subject.settings, subject.deployed
    cluster = settings.parallelcluster
    if cluster is None or deployed is None:
        return
    for fact in facts:
        read = fact.chosen if deployed.settings and fact.chosen else fact.read
        after = read(settings, cluster)
        before = _before(fact, read, settings, deployed)
        if before is UNKNOWN or (fact.keys[-1] == "InstanceType" and before is None):
            continue
        if fact.presence:
            before, after = before is not None, after is not None
        # CloudFormation hands numbers and switches to ParallelCluster as text.
        if str(before).lower() != str(after).lower():
            yield fact, before, after


def _before(fact: Fact, read: Read, settings: Settings, deployed: Deployed) -> object:
    if deployed.cluster is not None:
        return deployed.at(fact.keys) if fact.known(settings) else UNKNOWN
    then = deployed.settings
    if then is None or then.parallelcluster is None:
        return UNKNOWN
    return read(then, then.parallelcluster)


def _step(fact: Fact, before: object, after: object) -> str:
    if fact.presence:
        return "from no to yes" if after else "from yes to no"
    old, new = ("nothing" if value is None else f"'{shown(value)}'" for value in (before, after))
    return f"from {old} to {new}"
