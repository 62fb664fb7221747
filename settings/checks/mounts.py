"""Rules on where file systems are mounted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import extensions
from settings.deployment import Settings
from settings.parser.values import shown

# botocore: sagemaker ClusterFsxMountPath, which is 1 to 1024 characters long.
_MOUNT = re.compile(r"/[a-zA-Z0-9._/-]+")
# Filesystem Hierarchy Standard 3.0, chapter 3: what the system itself needs to start and run.
_SYSTEM_ROOTS = frozenset(
    {"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys"}
    | {"/usr", "/var"}
)
# Where Slurm, HyperPod's agent and the nodes' local volumes live (lifecycle scripts of HyperPod: /opt/slurm,
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
                f"a file system at '{shown(mount)}' would hide or lie in a folder that the system needs",
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
            f"the mount paths '{one}' and '{other}' lie in one another",
            "put them side by side",
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


@warning("container-cache-local", leans_on=("storage",))
def _cache(subject: Subject) -> Iterator[Problem]:
    """A cache that is not shared is filled by every node anew, from the network."""
    shared = [PurePosixPath(mount) for _, mount in _mounts(subject.settings)]
    for path, value in _container_paths(subject.settings):
        cache = PurePosixPath(value)
        if path.endswith("cache_path") and not any(mount in (cache, *cache.parents) for mount in shared):
            yield Problem(
                path,
                value,
                f"'{shown(value)}' lies on no shared file system, so each node keeps a cache of its own",
                "choose a folder below a mount path, or add 'storage.lustre'",
            )


def _container_paths(settings: Settings) -> Iterator[tuple[str, str]]:
    for cluster, extension in extensions(settings):
        if extension.containers:
            yield f"{cluster}.extension.containers.cache_path", extension.containers.cache_path
            yield f"{cluster}.extension.containers.runtime_path", extension.containers.runtime_path
