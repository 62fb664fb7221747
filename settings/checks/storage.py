"""Rules on file systems: the sizes and speeds that FSx offers, backups, and what has no effect."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.storage import (
    LUSTRE_SMALLEST_GIB,
    LUSTRE_STEP_GIB,
    LUSTRE_THROUGHPUTS,
    OPENZFS_LARGEST_GIB,
    OPENZFS_SMALLEST_GIB,
    OPENZFS_THROUGHPUTS,
    OpenZfsDeployment,
    is_lustre_capacity,
    nearest_lustre_capacity,
    nearest_throughput,
)
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import uses
from settings.deployment import Settings
from settings.parser.values import listed
from settings.sections.storage import LustreSettings, OpenZfsSettings


def made_lustre(settings: Settings) -> LustreSettings | None:
    """Return the Lustre file system that is to be made, if any."""
    lustre = settings.storage.lustre
    return lustre if lustre and not lustre.existing else None


def made_openzfs(settings: Settings) -> OpenZfsSettings | None:
    """Return the OpenZFS file system that is to be made, if any."""
    openzfs = settings.storage.openzfs
    return openzfs if openzfs and not openzfs.existing else None


@error("lustre-capacity")
def _lustre_capacity(subject: Subject) -> Iterator[Problem]:
    """FSx offers Lustre on SSD in steps (botocore: fsx CreateFileSystem, StorageCapacity)."""
    lustre = made_lustre(subject.settings)
    if lustre and not is_lustre_capacity(lustre.capacity_gib):
        above = nearest_lustre_capacity(lustre.capacity_gib)
        below = above - LUSTRE_STEP_GIB if above > LUSTRE_STEP_GIB else LUSTRE_SMALLEST_GIB
        near = sorted({below, above})
        yield Problem(
            "storage.lustre.capacity_gib",
            lustre.capacity_gib,
            f"FSx makes no Lustre file system of {lustre.capacity_gib} GiB, only of {LUSTRE_SMALLEST_GIB} or "
            f"a multiple of {LUSTRE_STEP_GIB}",
            f"nearest: {listed(near)}",
        )


@error("lustre-throughput")
def _lustre_throughput(subject: Subject) -> Iterator[Problem]:
    """PERSISTENT_2 has four speeds (botocore: fsx CreateFileSystem, PerUnitStorageThroughput)."""
    lustre = made_lustre(subject.settings)
    offered = LUSTRE_THROUGHPUTS["PERSISTENT_2"]
    if lustre and lustre.throughput_mbps_per_tib not in offered:
        yield Problem(
            "storage.lustre.throughput_mbps_per_tib",
            lustre.throughput_mbps_per_tib,
            f"a throughput of {lustre.throughput_mbps_per_tib} MB/s per TiB is not offered: "
            f"{listed(offered)} are",
            f"nearest: '{nearest_throughput(lustre.throughput_mbps_per_tib, offered)}'",
        )


@error("openzfs-capacity")
def _openzfs_capacity(subject: Subject) -> Iterator[Problem]:
    """FSx bounds the size of OpenZFS on SSD (botocore: fsx CreateFileSystem, StorageCapacity)."""
    openzfs = made_openzfs(subject.settings)
    if openzfs and not OPENZFS_SMALLEST_GIB <= openzfs.capacity_gib <= OPENZFS_LARGEST_GIB:
        yield Problem(
            "storage.openzfs.capacity_gib",
            openzfs.capacity_gib,
            f"an OpenZFS file system holds {OPENZFS_SMALLEST_GIB} to {OPENZFS_LARGEST_GIB} GiB, "
            f"not {openzfs.capacity_gib}",
            f"nearest: '{min(max(openzfs.capacity_gib, OPENZFS_SMALLEST_GIB), OPENZFS_LARGEST_GIB)}'",
        )


@error("openzfs-throughput", leans_on=("storage.openzfs.deployment",))
def _openzfs_throughput(subject: Subject) -> Iterator[Problem]:
    """Each deployment type has steps of its own (botocore: fsx CreateFileSystem, ThroughputCapacity)."""
    openzfs = made_openzfs(subject.settings)
    if openzfs is None:
        return
    kind: OpenZfsDeployment = "MULTI_AZ_1" if openzfs.deployment == "multi-zone" else "SINGLE_AZ_HA_2"
    offered = OPENZFS_THROUGHPUTS[kind]
    if openzfs.throughput_mbps not in offered:
        yield Problem(
            "storage.openzfs.throughput_mbps",
            openzfs.throughput_mbps,
            f"a throughput of {openzfs.throughput_mbps} MB/s is not offered for a {openzfs.deployment} "
            f"OpenZFS file system: {listed(offered)} are",
            f"nearest: '{nearest_throughput(openzfs.throughput_mbps, offered)}'",
        )


@error("openzfs-zones", leans_on=("availability_zones",))
def _openzfs_zones(subject: Subject) -> Iterator[Problem]:
    """A multi-zone file system keeps its second server in another zone."""
    openzfs = made_openzfs(subject.settings)
    zones = set(subject.settings.availability_zones)
    if openzfs and openzfs.deployment == "multi-zone" and len(zones) < 2:
        yield Problem(
            "storage.openzfs.deployment",
            openzfs.deployment,
            "a multi-zone OpenZFS file system needs two zones, and 'availability_zones' lists one",
            "add a zone, or set 'deployment: single-zone'",
        )


@error("openzfs-route-tables", leans_on=("network",))
def _openzfs_routes(subject: Subject) -> Iterator[Problem]:
    """The address of a multi-zone file system is a route; without the clients' tables it is unreachable.

    Source: botocore, fsx CreateFileSystem, RouteTableIds.
    """
    openzfs = made_openzfs(subject.settings)
    existing = subject.settings.network.existing
    if openzfs and openzfs.deployment == "multi-zone" and existing and not existing.private_route_table_ids:
        yield Problem(
            "network.existing.private_route_table_ids",
            [],
            "a multi-zone OpenZFS file system needs the route tables of the private subnets",
            "list them, or set 'storage.openzfs.deployment: single-zone'",
        )


@error("lustre-backups", leans_on=("storage.lustre.repository",))
def _lustre_backups(subject: Subject) -> Iterator[Problem]:
    """FSx backs up no file system that is linked to a data repository (botocore: fsx CreateBackup)."""
    lustre = made_lustre(subject.settings)
    if lustre and lustre.repository and lustre.backup_days:
        yield Problem(
            "storage.lustre.backup_days",
            lustre.backup_days,
            "FSx makes no backups of a Lustre file system that shows a bucket",
            "remove 'backup_days', the bucket holds what is exported; or set 'repository: false'",
        )


@warning("durable-without-backup", leans_on=("retention", "storage.lustre"))
def _durable(subject: Subject) -> Iterator[Problem]:
    """A durable deployment promises that data outlives a mishap, and this file system has no second copy."""
    lustre = made_lustre(subject.settings)
    durable = subject.settings.retention == "durable"
    if durable and lustre and not lustre.repository and not lustre.backup_days:
        yield Problem(
            "storage.lustre.backup_days",
            lustre.backup_days,
            "the Lustre file system of a durable deployment is neither backed up nor exported to a bucket",
            "set 'backup_days', or 'repository: true'",
        )


@warning("storage-existing-ignored")
def _ignored(subject: Subject) -> Iterator[Problem]:
    """What stands already keeps its properties: settings that shape a new one do nothing."""
    storage = subject.settings.storage
    for name, section, kept in (
        ("bucket", storage.bucket, {"existing"}),
        ("lustre", storage.lustre, {"existing", "mount_path", "availability_zone"}),
        ("openzfs", storage.openzfs, {"existing", "mount_path", "availability_zone"}),
    ):
        if section is None or not section.existing:
            continue
        for key in sorted(section.model_fields_set - kept):
            yield Problem(
                f"storage.{name}.{key}",
                getattr(section, key),
                f"'{key}' has no effect on an existing {name}",
                "remove it",
            )


_PORTS = {"lustre": "988 and 1018-1023 (TCP)", "openzfs": "111, 2049 and 20001-20003 (TCP and UDP)"}
"""What clients reach (FSx user guides, "File system access control with Amazon VPC")."""


@warning("existing-storage-access", leans_on=("network",))
def _access(subject: Subject) -> Iterator[Problem]:
    """The security groups of a file system that stands do not know a group that is made for the nodes.

    Nodes that cannot mount their file systems fail to start.
    """
    existing = subject.settings.network.existing
    cluster = next(uses(subject.settings), None)
    if cluster is None or (existing and existing.efa_security_group_id):
        return
    for kind, ports in _PORTS.items():
        section = getattr(subject.settings.storage, kind)
        if section and section.existing:
            yield Problem(
                f"storage.{kind}.existing",
                section.existing.file_system_id,
                f"the security groups of the existing {kind} do not admit the nodes, whose group is made anew",
                "after the network stack stands, let its output EfaSecurityGroupId reach ports "
                f"{ports} of the file system, then deploy the cluster; or name the nodes' group in "
                "'network.existing.efa_security_group_id'",
            )
