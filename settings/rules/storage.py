"""Rules on file systems: the sizes and speeds that FSx offers, backups, Lustre over EFA, and where they are mounted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from catalog.storage import (
    LUSTRE_EFA_VERIFIED,
    LUSTRE_MIN_GIB,
    LUSTRE_STEP_GIB,
    LUSTRE_THROUGHPUTS,
    OPENZFS_MAX_GIB,
    OPENZFS_MIN_GIB,
    OPENZFS_THROUGHPUTS,
    OpenZfsDeployment,
    is_lustre_capacity,
    lustre_efa_min_gib,
    nearest_lustre_capacity,
    nearest_throughput,
    reaches_lustre_by_efa,
)
from settings.deployment import Settings
from settings.parser.values import listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import Use, facts, node_setups, uses
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
        below = above - LUSTRE_STEP_GIB if above > LUSTRE_STEP_GIB else LUSTRE_MIN_GIB
        near = sorted({below, above})
        yield Problem(
            "storage.lustre.capacity_gib",
            lustre.capacity_gib,
            f"FSx makes no Lustre file system of {lustre.capacity_gib} GiB, only of {LUSTRE_MIN_GIB} or "
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
    if openzfs and not OPENZFS_MIN_GIB <= openzfs.capacity_gib <= OPENZFS_MAX_GIB:
        yield Problem(
            "storage.openzfs.capacity_gib",
            openzfs.capacity_gib,
            f"an OpenZFS file system holds {OPENZFS_MIN_GIB} to {OPENZFS_MAX_GIB} GiB, "
            f"not {openzfs.capacity_gib}",
            f"nearest: '{min(max(openzfs.capacity_gib, OPENZFS_MIN_GIB), OPENZFS_MAX_GIB)}'",
        )


@error("openzfs-throughput", depends_on=("storage.openzfs.deployment",))
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


@error("openzfs-zones", depends_on=("availability_zones",))
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


@error("openzfs-route-tables", depends_on=("network",))
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


@error("lustre-backups", depends_on=("storage.lustre.repository",))
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


@warning("durable-without-backup", depends_on=("retention", "storage.lustre"))
def _durable(subject: Subject) -> Iterator[Problem]:
    """A durable deployment keeps data after a failure, and this file system has no second copy."""
    lustre = made_lustre(subject.settings)
    durable = subject.settings.retention == "durable"
    if durable and lustre and not lustre.repository and not lustre.backup_days:
        yield Problem(
            "storage.lustre.backup_days",
            lustre.backup_days,
            "the Lustre file system of a durable deployment has neither backups nor an export to a bucket",
            "set 'backup_days', or 'repository: true'",
        )


@warning("storage-existing-ignored")
def _ignored(subject: Subject) -> Iterator[Problem]:
    """Existing storage keeps its properties: settings that shape a new one do nothing."""
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
"""Ports that clients reach (FSx user guides, "File system access control with Amazon VPC")."""


@warning("existing-storage-access", depends_on=("network",))
def _access(subject: Subject) -> Iterator[Problem]:
    """The security groups of an existing file system do not allow a group that is created for the nodes.

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
                f"the security groups of the existing {kind} do not allow the nodes, whose security group is new",
                "after the network stack is deployed, allow the group in its output EfaSecurityGroupId to reach ports "
                f"{ports} of the file system, then deploy the cluster; or name the nodes' group in "
                "'network.existing.efa_security_group_id'",
            )


def _too_small(settings: Settings, *, verified: bool) -> Iterator[Problem]:
    lustre = made_lustre(settings)
    if lustre is None or not lustre.efa:
        return
    throughput = lustre.throughput_mbps_per_tib
    smallest = lustre_efa_min_gib(throughput)
    if smallest and lustre.capacity_gib < smallest and (throughput in LUSTRE_EFA_VERIFIED) is verified:
        yield Problem(
            "storage.lustre.capacity_gib",
            lustre.capacity_gib,
            f"with EFA and {throughput} MB/s per TiB a Lustre file system holds {smallest} GiB or more, "
            f"not {lustre.capacity_gib}",
            f"set 'capacity_gib: {smallest}', a higher throughput, or 'efa: false'",
        )


@error("lustre-efa-capacity", depends_on=("storage.lustre.throughput_mbps_per_tib",))
def _capacity(subject: Subject) -> Iterator[Problem]:
    """FSx makes EFA-enabled file systems from a size on, the smaller the faster each TiB is."""
    yield from _too_small(subject.settings, verified=True)


@warning("lustre-efa-capacity-unverified", depends_on=("storage.lustre.throughput_mbps_per_tib",))
def _capacity_unverified(subject: Subject) -> Iterator[Problem]:
    """As `lustre-efa-capacity`, for throughputs whose minimum is known at second hand only."""
    yield from _too_small(subject.settings, verified=False)


@error("lustre-efa-zone", depends_on=("availability_zones", "storage.lustre", "pools"))
def _zone(subject: Subject) -> Iterator[Problem]:
    """EFA does not leave a zone: clients in another one use TCP without a message.

    It stops synthesis where no pool at all is in the file system's zone.
    """
    settings = subject.settings
    zone, clients = _zone_and_clients(settings)
    if zone and clients and all(other != zone for _, other, _ in clients):
        explicit = settings.storage.lustre and settings.storage.lustre.availability_zone
        yield Problem(
            "storage.lustre.availability_zone" if explicit else "storage.lustre",
            zone,
            f"the Lustre file system is in zone '{shown(zone)}', and none of its clients is: EFA does "
            "not leave a zone",
            f"set 'storage.lustre.availability_zone: {clients[0][1]}'",
        )


@warning("lustre-efa-client-zone", depends_on=("availability_zones", "storage.lustre", "pools"))
def _client_zone(subject: Subject) -> Iterator[Problem]:
    """A pool in another zone than the EFA-enabled file system uses TCP across zones: slower, and it costs money."""
    zone, clients = _zone_and_clients(subject.settings)
    if not any(other == zone for _, other, _ in clients):
        return
    for name, other, _ in clients:
        if other != zone:
            yield Problem(
                f"pools.{name}.availability_zone",
                other,
                f"pool '{name}' is in zone '{shown(other)}' and reaches the Lustre file system in "
                f"'{shown(zone)}' over TCP only",
            )


@warning("lustre-efa-clients", depends_on=("pools",))
def _clients(subject: Subject) -> Iterator[Problem]:
    """Lustre over EFA needs clients on Nitro v4 or later with EFA, and not Trainium2.

    Source: FSx for Lustre user guide, "Working with EFA-enabled file systems". Others fall back to TCP.
    """
    zone, clients = _zone_and_clients(subject.settings)
    if zone and clients and not any(reaches for _, _, reaches in clients):
        yield Problem(
            "storage.lustre.efa",
            True,
            "no pool has nodes that can reach a Lustre file system over EFA: all of them use TCP",
            "set 'efa: false', which allows a smaller file system",
        )


@warning("lustre-efa-client", depends_on=("pools", "parallelcluster", "hyperpod.lifecycle_scripts"))
def _client_setup(subject: Subject) -> Iterator[Problem]:
    """A node reaches Lustre over EFA only after its client (LNet) is configured for it; TCP is the default.

    Source: FSx for Lustre user guide, "Working with EFA-enabled file systems". The nodes of HyperPod on EKS are set up
    for it by their script; elsewhere scripts or images of one's own can do it.
    """
    over_efa = {use.cluster for use in uses(subject.settings) if _over_efa(use)}
    names = [
        cluster
        for cluster, section in subject.settings.clusters.items()
        if cluster in over_efa and section.leaves_lustre_on_tcp()
    ]
    lustre = made_lustre(subject.settings)
    if lustre and lustre.efa and names:
        yield Problem(
            "storage.lustre.efa",
            True,
            f"nothing here sets up the Lustre client (LNet) of nodes of {', '.join(names)} for EFA: they mount the "
            "file system over TCP until that is done",
            "configure the clients as the FSx for Lustre user guide says, or set 'efa: false'",
        )


def _over_efa(use: Use) -> bool:
    """Return whether the nodes of a pool can reach Lustre over EFA."""
    found = facts(use.pool.instance_type) if use.pool else None
    return bool(found and found.supports_efa and reaches_lustre_by_efa(found))


def _zone_and_clients(settings: Settings) -> tuple[str, list[tuple[str, str, bool]]]:
    """Return the zone of a Lustre file system that is to be made with EFA, and its clients once each.

    A client is a pool's name, its zone, and whether its type reaches Lustre over EFA. Without such a file
    system the zone is empty.
    """
    lustre = made_lustre(settings)
    if lustre is None or not lustre.efa:
        return "", []
    clients: dict[str, tuple[str, str, bool]] = {}
    for use in uses(settings):
        if use.pool and facts(use.pool.instance_type):
            clients[use.name] = (use.name, use.pool.availability_zone, _over_efa(use))
    return lustre.availability_zone or settings.availability_zones[0], list(clients.values())


# botocore: sagemaker ClusterFsxMountPath, which is 1 to 1024 characters long.
_MOUNT = re.compile(r"/[a-zA-Z0-9._/-]+")
# Filesystem Hierarchy Standard 3.0, chapter 3: what the system itself needs to start and run.
_SYSTEM_ROOTS = frozenset(
    {"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys"}
    | {"/usr", "/var"}
)
# The folders of Slurm, HyperPod's agent and the nodes' local volumes (lifecycle scripts of HyperPod: /opt/slurm,
# /opt/ml, /opt/sagemaker, /opt/dlami/nvme), and ParallelCluster's (SharedStorageMountDirValidator).
_CLUSTER_ROOTS = frozenset(
    {"/opt/slurm", "/opt/ml", "/opt/aws", "/opt/amazon", "/opt/sagemaker", "/opt/dlami", "/tmp"}  # noqa: S108
    | {"/opt/parallelcluster", "/opt/intel"}
)
_SHARED_ROOTS = frozenset({"/", "/opt"})
"""Folders that must stay themselves, while a file system may be mounted below them."""


def _mounts(settings: Settings) -> Iterator[tuple[str, str]]:
    for kind in ("lustre", "openzfs"):
        section = getattr(settings.storage, kind)
        if section:
            yield f"storage.{kind}.mount_path", section.mount_path


@error("mount-path")
def _form(subject: Subject) -> Iterator[Problem]:
    """A mount over a system folder hides what a node needs to run (form: botocore, ClusterFsxMountPath)."""
    for path, mount in _mounts(subject.settings):
        if not _MOUNT.fullmatch(mount) or len(mount) > 1024 or ".." in PurePosixPath(mount).parts:
            yield Problem(
                path,
                mount,
                f"'{shown(mount)}' is not an absolute path of letters, digits and '._/-'",
                "write it as '/fsx'",
            )
            continue
        folder = PurePosixPath("/" + mount.lstrip("/"))  # two slashes at the front would be kept
        above = {str(place) for place in (folder, *folder.parents)}
        if str(folder) in _SHARED_ROOTS or above & (_SYSTEM_ROOTS | _CLUSTER_ROOTS):
            yield Problem(
                path,
                mount,
                f"a file system at '{shown(mount)}' would hide or be in a folder that the system needs",
                "choose a folder of its own, such as '/fsx'",
            )


@error("mount-conflict")
def _conflict(subject: Subject) -> Iterator[Problem]:
    """Two file systems at one path hide each other; one inside the other depends on the order of mounting."""
    mounts = [(path, PurePosixPath(mount)) for path, mount in _mounts(subject.settings)]
    if len(mounts) < 2:
        return
    (_, one), (path, other) = mounts
    if PurePosixPath("/") in (one, other):
        return
    if one == other or one in other.parents or other in one.parents:
        yield Problem(
            path,
            str(other),
            f"the mount paths '{one}' and '{other}' are inside each other",
            "choose folders outside each other",
        )


@error("repository-path")
def _repository(subject: Subject) -> Iterator[Problem]:
    """The bucket appears at this path of the file system (botocore: fsx CreateDataRepositoryAssociation)."""
    lustre = subject.settings.storage.lustre
    if lustre is None or lustre.existing or not lustre.repository:
        return
    value = lustre.repository_path
    parts = PurePosixPath(value).parts
    if not value.startswith("/") or ".." in parts or not value.isprintable() or len(value) > 4096:
        yield Problem(
            "storage.lustre.repository_path",
            value,
            f"'{shown(value)}' is not a path of the file system that begins with '/'",
            "write it as '/data'",
        )


@error("container-path")
def _containers(subject: Subject) -> Iterator[Problem]:
    """Enroot takes absolute paths, and creates what is missing on the way."""
    for path, value in _container_paths(subject.settings):
        if not _MOUNT.fullmatch(value) or ".." in PurePosixPath(value).parts:
            message = f"'{shown(value)}' is not an absolute path of letters, digits and '._/-'"
            yield Problem(path, value, message)


@warning("container-cache-local", depends_on=("storage",))
def _cache(subject: Subject) -> Iterator[Problem]:
    """A cache that is not shared is filled again by every node, from the network."""
    shared = [PurePosixPath(mount) for _, mount in _mounts(subject.settings)]
    for path, value in _container_paths(subject.settings):
        cache = PurePosixPath(value)
        if path.endswith("cache_path") and not any(mount in (cache, *cache.parents) for mount in shared):
            yield Problem(
                path,
                value,
                f"'{shown(value)}' is on no shared file system, so each node has its own cache",
                "choose a folder below a mount path, or add 'storage.lustre'",
            )


def _container_paths(settings: Settings) -> Iterator[tuple[str, str]]:
    for cluster, node_setup in node_setups(settings):
        if node_setup.containers:
            yield f"{cluster}.node_setup.containers.cache_path", node_setup.containers.cache_path
            yield f"{cluster}.node_setup.containers.runtime_path", node_setup.containers.runtime_path
