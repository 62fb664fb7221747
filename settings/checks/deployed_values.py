"""The values that an update is judged by: what a change of each does, with its source.

Whoever learns what an update does to another value adds an entry to a table here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from catalog.addresses import default_secondary_ranges
from settings.deployment import Settings


def _differs(before: object, after: object) -> bool:
    return before != after


def _shrinks(before: Any, after: Any) -> bool:
    return before is not None and after is not None and after < before


_OPENZFS_STEP_PERCENT = 10
"""The least growth of an OpenZFS file system. Source: botocore, FSx UpdateFileSystem, StorageCapacity."""


def _shrinks_or_grows_little(before: int, after: int) -> bool:
    return before != after and 100 * after < (100 + _OPENZFS_STEP_PERCENT) * before


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the settings that an update is judged by.

    `path` is its key, and its changes count as judged. `read` returns it, None where there is nothing that an update
    could touch; `matters` says of the values before and after whether the step has the `outcome`.
    """

    path: str
    what: str
    outcome: str
    read: Callable[[Settings], object]
    matters: Callable[[Any, Any], bool] = _differs


def _own_network(settings: Settings) -> bool:
    return settings.network.existing is None


def _vpc(settings: Settings) -> str:
    return settings.network.existing.vpc_id if settings.network.existing else "one of this deployment"


def _ranges(settings: Settings) -> tuple[str, ...] | None:
    network = settings.network
    if not _own_network(settings):
        return None
    zones = len(settings.availability_zones)
    found = network.secondary_cidrs or default_secondary_ranges(network.primary_cidr, zones)
    return tuple(str(block) for block in found)


def _subnets(settings: Settings) -> Mapping[str, str] | None:
    return settings.network.existing.private_subnets if settings.network.existing else None


def _moved(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    return any(after.get(zone) != subnet for zone, subnet in before.items())


def _grown(before: tuple[object, ...], after: tuple[object, ...]) -> bool:
    """Return whether a list is more than the old one with something at its end."""
    return tuple(after[: len(before)]) != tuple(before)


def _of(kind: str, read: Callable[[Any, Settings], object]) -> Callable[[Settings], object]:
    """Return a reader of a file system that the deployment makes; of one that exists already it returns None."""

    def value(settings: Settings) -> object:
        section = getattr(settings.storage, kind)
        return None if section is None or section.existing else read(section, settings)

    return value


def _file_system(kind: str) -> Callable[[Settings], object]:
    """Return a reader that tells which file system is used: an id, or that the deployment makes one."""

    def value(settings: Settings) -> object:
        section = getattr(settings.storage, kind)
        if section is None:
            return None
        return section.existing.file_system_id if section.existing else "one of this deployment"

    return value


def _zone(section: Any, settings: Settings) -> str:
    return str(section.availability_zone or settings.availability_zones[0])


def _provisioning(settings: Settings) -> bool | None:
    """Return whether a Slurm cluster of HyperPod is provisioned continuously, None where there is none.

    Source: SageMaker guide, "Continuous provisioning for enhanced cluster operations with Slurm".
    """
    return settings.hyperpod.continuous_provisioning if settings.hyperpod else None


_EMPTY = "it would be replaced by an empty one, and its data would not move"
_NETWORK = "the network would be replaced, and with it everything in it"
_SUBNETS = "private subnets would be replaced or deleted, and with them everything in them"

# Sources: CloudFormation's create-only properties of EC2 VPC and Subnet and of FSx FileSystem (cfn-lint's schemas);
# botocore, FSx UpdateFileSystem, has no zone, deployment type or EFA, and takes only a larger capacity.
REPLACED: tuple[Value, ...] = (
    Value("network.existing.vpc_id", "the VPC", _NETWORK, _vpc),
    Value(
        "network.primary_cidr",
        "the primary range",
        _NETWORK,
        lambda s: str(s.network.primary_cidr) if _own_network(s) else None,
    ),
    Value("network.secondary_cidrs", "the ranges of private subnets", _SUBNETS, _ranges, _grown),
    Value("network.existing.private_subnets", "the subnets in use", _SUBNETS, _subnets, _moved),
    Value(
        "availability_zones",
        "the order of zones, by which subnets get their ranges",
        _SUBNETS,
        lambda s: tuple(s.availability_zones) if _own_network(s) else None,
        _grown,
    ),
    Value(
        "storage.bucket.existing", "the data bucket", _EMPTY, lambda s: s.storage.bucket.existing or "ours"
    ),
    Value("storage.lustre.existing", "the Lustre file system", _EMPTY, _file_system("lustre")),
    Value("storage.lustre.availability_zone", "the zone of Lustre", _EMPTY, _of("lustre", _zone)),
    Value(
        "storage.lustre.efa",
        "whether clients reach Lustre over EFA",
        _EMPTY,
        _of("lustre", lambda lustre, _: lustre.efa),
    ),
    Value("storage.openzfs.existing", "the OpenZFS file system", _EMPTY, _file_system("openzfs")),
    Value("storage.openzfs.availability_zone", "the zone of OpenZFS", _EMPTY, _of("openzfs", _zone)),
    Value(
        "storage.openzfs.deployment",
        "the deployment type of OpenZFS",
        _EMPTY,
        _of("openzfs", lambda openzfs, _: openzfs.deployment),
    ),
)
"""Values that CloudFormation changes by a replacement."""

REFUSED: tuple[Value, ...] = (
    Value(
        "storage.lustre.capacity_gib",
        "the capacity of Lustre",
        "FSx makes no file system smaller",
        _of("lustre", lambda lustre, _: lustre.capacity_gib),
        _shrinks,
    ),
    Value(
        "storage.openzfs.capacity_gib",
        "the capacity of OpenZFS",
        f"FSx makes no file system smaller, and one with OpenZFS larger by {_OPENZFS_STEP_PERCENT} % or more",
        _of("openzfs", lambda openzfs, _: openzfs.capacity_gib),
        _shrinks_or_grows_little,
    ),
    Value(
        "hyperpod.continuous_provisioning",
        "continuous provisioning of the Slurm cluster",
        "a cluster that exists cannot be migrated: destroy HyperPodStack, deploy",
        _provisioning,
    ),
)
"""Values that a service refuses to change: the deployment would fail and be rolled back."""

IN_PLACE = (
    "acknowledge",
    "notifications",
    "storage.bucket.noncurrent_days",
    "storage.lustre.throughput_mbps_per_tib",
    "storage.lustre.backup_days",
    "storage.openzfs.throughput_mbps",
    "storage.openzfs.backup_days",
)
"""Keys that are changed without replacing anything (botocore: FSx UpdateFileSystem)."""

JUDGED_ELSEWHERE = ("name", "region", "parallelcluster")
"""Keys with rules of their own, in `settings.checks.deployed_update` and `settings.checks.parallelcluster_update`."""
