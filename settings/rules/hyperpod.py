"""Rules on HyperPod with Slurm: group and partition names and counts, accounting, scripts, nodes that run no jobs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from catalog.cluster_kinds import HYPERPOD, HYPERPOD_EKS
from settings.parser.values import shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.secret_arn import secret_problem
from settings.rules.selection import facts, uses

# The limits below are botocore's: sagemaker CreateCluster, ClusterInstanceGroupSpecifications,
# ClusterPartitionName, ClusterAccountingDatabase*.
MAX_GROUPS = 100
"""Instance groups of one cluster, the controller's and the login nodes' among them."""
_RESERVED_GROUPS = ("controller", "login")
_PARTITION = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_HOST = re.compile(
    r"(?=.{1,255}$)[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_SCHEMA = re.compile(r"[a-zA-Z0-9$_]{1,64}")


@error("hyperpod-group-name")
def _group_names(subject: Subject) -> Iterator[Problem]:
    """Groups are named 'controller', 'login' and after the pools, and names of groups are unique."""
    for use in uses(subject.settings):
        if use.cluster == HYPERPOD.name and use.name in _RESERVED_GROUPS:
            yield Problem(
                use.path,
                use.name,
                f"a pool of a HyperPod cluster cannot be named '{use.name}': its own group has that name",
                "rename the pool",
            )


@error("hyperpod-group-count", depends_on=("hyperpod.pools", "hyperpod_eks.pools"))
def _group_count(subject: Subject) -> Iterator[Problem]:
    """A cluster has at most 100 instance groups (botocore: ClusterInstanceGroupSpecifications)."""
    slurm, eks = subject.settings.hyperpod, subject.settings.hyperpod_eks
    counted = []
    if slurm:
        counted.append(
            (HYPERPOD.name, len(slurm.pools), 2 if slurm.login else 1, " (pools, controller, login)")
        )
    if eks:
        counted.append((HYPERPOD_EKS.name, len(eks.pools), 0, ""))
    for cluster, pools, more, what in counted:
        if pools + more > MAX_GROUPS:
            yield Problem(
                f"{cluster}.pools",
                pools,
                f"{pools + more} instance groups{what} are more than the {MAX_GROUPS} that a HyperPod cluster takes",
                "use fewer, larger pools",
            )


@error("partition-name")
def _partition_names(subject: Subject) -> Iterator[Problem]:
    """HyperPod restricts names of partitions (botocore: ClusterPartitionName), and Slurm reserves DEFAULT.

    A pool without a partition of its own gives the partition its name. A `PartitionName=DEFAULT` line of
    slurm.conf sets defaults for the lines after it (slurm.conf manual).
    """
    hyperpod = subject.settings.hyperpod
    partitions = hyperpod.partitions if hyperpod else {}
    for pool, partition in partitions.items():
        path = f"hyperpod.partitions.{pool}"
        if not _PARTITION.fullmatch(partition) or len(partition) > 1024:
            yield Problem(
                path,
                partition,
                f"the partition name '{shown(partition)}' is not letters, digits and dashes that begin "
                "and end with a letter or digit",
            )
        elif partition.upper() == "DEFAULT":
            yield Problem(
                path, partition, "Slurm keeps the partition name 'DEFAULT' for itself", "choose another"
            )
    for index, pool in enumerate(hyperpod.pools if hyperpod else ()):
        if pool not in partitions and pool.upper() == "DEFAULT":
            yield Problem(
                f"hyperpod.pools.{index}",
                pool,
                f"the partition of pool '{pool}' would have its name, and Slurm keeps 'DEFAULT' for itself",
                "rename the pool, or give it a partition under 'hyperpod.partitions'",
            )


@error("accounting-provisioning")
def _accounting(subject: Subject) -> Iterator[Problem]:
    """An external accounting database needs continuous provisioning (botocore: AccountingDatabase)."""
    hyperpod = subject.settings.hyperpod
    external = hyperpod and (hyperpod.accounting or subject.settings.accounting)
    if hyperpod and external and not hyperpod.continuous_provisioning:
        yield Problem(
            "hyperpod.continuous_provisioning",
            False,
            "an external accounting database needs continuous provisioning",
            "set 'continuous_provisioning: true', or remove 'accounting': the controller keeps the records",
        )


@error("accounting-database")
def _database(subject: Subject) -> Iterator[Problem]:
    """The forms that CreateCluster takes (botocore: ClusterAccountingDatabase)."""
    accounting = subject.settings.hyperpod.accounting if subject.settings.hyperpod else None
    if accounting is None:
        return
    base = "hyperpod.accounting"
    if not _HOST.fullmatch(accounting.endpoint):
        yield Problem(
            f"{base}.endpoint",
            accounting.endpoint,
            f"'{shown(accounting.endpoint)}' is not a host name",
            "write the host alone; 'port' has a key of its own",
        )
    if accounting.name is not None and not _SCHEMA.fullmatch(accounting.name):
        yield Problem(
            f"{base}.name",
            accounting.name,
            f"the schema name '{shown(accounting.name)}' is not 1 to 64 letters, digits, '$' and '_'",
        )
    problem = secret_problem(f"{base}.secret_arn", accounting.secret_arn)
    if problem:
        yield problem


@error("scripts-exclusive")
def _scripts(subject: Subject) -> Iterator[Problem]:
    """The node set-up runs after initialisation (OnInitComplete), scripts of your own instead (OnCreate)."""
    hyperpod = subject.settings.hyperpod
    if hyperpod and hyperpod.lifecycle_scripts and hyperpod.node_setup:
        yield Problem(
            "hyperpod.lifecycle_scripts",
            hyperpod.lifecycle_scripts.directory,
            "lifecycle scripts of your own replace the node set-up, and both are given",
            "remove one of 'lifecycle_scripts' and 'node_setup'",
        )


@warning("controller-accelerated")
def _controller(subject: Subject) -> Iterator[Problem]:
    """The controller schedules and runs nothing; accelerators in it are paid for and idle."""
    if subject.settings.hyperpod:
        yield from _idle(
            "hyperpod.controller.instance_type",
            subject.settings.hyperpod.controller.instance_type,
            "the controller",
        )


@warning("login-accelerated")
def _login(subject: Subject) -> Iterator[Problem]:
    """People edit and submit on login nodes; Slurm gives nobody the accelerators there."""
    hyperpod = subject.settings.hyperpod
    if hyperpod and hyperpod.login:
        yield from _idle("hyperpod.login.instance_type", hyperpod.login.instance_type, "a login node")


def _idle(path: str, name: str, what: str) -> Iterator[Problem]:
    found = facts(name)
    if found and found.accelerator:
        accelerators = f"{found.accelerator.count} {found.accelerator.name}"
        yield Problem(
            path,
            name,
            f"{what} of type '{name}' has accelerators ({accelerators}) that no job can use",
            "choose a type without accelerators",
        )


MAX_FILES = 1000
MAX_MIB = 50
"""Scripts are copied to every node at each start; data and programs belong elsewhere."""


@error("lifecycle-entry")
def _entry(subject: Subject) -> Iterator[Problem]:
    """The entry is a file of the folder (botocore: ClusterLifeCycleConfigFileName, 1 to 128 characters)."""
    scripts = subject.settings.hyperpod.lifecycle_scripts if subject.settings.hyperpod else None
    if scripts is None:
        return
    parts = PurePosixPath(scripts.entry).parts
    bad_parts = not parts or ".." in parts or PurePosixPath(scripts.entry).is_absolute()
    if bad_parts or len(scripts.entry) > 128 or not scripts.entry.isprintable():
        yield Problem(
            "hyperpod.lifecycle_scripts.entry",
            scripts.entry,
            f"'{shown(scripts.entry)}' is not the name of a script inside the folder",
        )


@error("lifecycle-directory", depends_on=("hyperpod.lifecycle_scripts",))
def _directory(subject: Subject) -> Iterator[Problem]:
    """Nodes that find no script to run fail to start, one after the other."""
    scripts = subject.settings.hyperpod.lifecycle_scripts if subject.settings.hyperpod else None
    if scripts is None:
        return
    path = "hyperpod.lifecycle_scripts.directory"
    where = shown(scripts.directory)
    if PurePosixPath(scripts.directory).is_absolute():
        message = f"'{where}' is an absolute path, which is there on one machine only"
        hint = "write it relative to the configuration file's folder"
        yield Problem(path, scripts.directory, message, hint)
        return
    if subject.folder is None:
        return
    try:
        directory = subject.folder / scripts.directory
        if not directory.is_dir():
            hint = "the path starts at the configuration file's folder"
            yield Problem(path, scripts.directory, f"there is no folder '{where}'", hint)
            return
        if not (directory / scripts.entry).is_file():
            yield Problem(
                "hyperpod.lifecycle_scripts.entry",
                scripts.entry,
                f"the folder '{where}' has no script '{shown(scripts.entry)}'",
                "name the script that every node runs",
            )
        files, size = _extent(directory)
    except (OSError, ValueError):
        yield Problem(
            path, scripts.directory, f"the folder '{where}' cannot be read", "check its permissions"
        )
        return
    if files > MAX_FILES or size > MAX_MIB << 20:
        yield Problem(
            path,
            scripts.directory,
            f"the folder '{where}' holds more than {MAX_FILES} files or {MAX_MIB} MiB, "
            "too much for a folder of scripts",
            "keep data and programs on a shared file system",
        )


def _extent(directory: Path) -> tuple[int, int]:
    """Return the files of a folder and their bytes, counted until either is too much."""
    files = size = 0
    for root, _, names in os.walk(directory):
        for name in names:
            files += 1
            size += (Path(root) / name).lstat().st_size
            if files > MAX_FILES or size > MAX_MIB << 20:
                return files, size
    return files, size
