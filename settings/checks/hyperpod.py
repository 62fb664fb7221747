"""Rules on HyperPod: pools that exist, group and partition names and counts, accounting, scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.secret_arn import secret_problem
from settings.checks.selection import CLUSTERS, uses
from settings.parser.values import guess, listed, shown

# The limits below are botocore's: sagemaker CreateCluster, ClusterInstanceGroupSpecifications,
# ClusterPartitionName, ClusterAccountingDatabase*.
MOST_GROUPS = 100
"""Instance groups of one cluster, the controller's and the login nodes' among them."""
_RESERVED_GROUPS = ("controller", "login")
_PARTITION = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_HOST = re.compile(
    r"(?=.{1,255}$)[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_SCHEMA = re.compile(r"[a-zA-Z0-9$_]{1,64}")


@error("pool-unknown", leans_on=("pools.{value}",))
def _pool_unknown(subject: Subject) -> Iterator[Problem]:
    """A cluster's pools are those of the section 'pools'."""
    pools = subject.settings.pools
    for use in uses(subject.settings):
        if use.name not in pools:
            yield Problem(
                use.path,
                use.name,
                f"there is no pool '{shown(use.name)}'{guess(use.name, pools)}",
                f"pools: {listed(pools, 'and')}" if pools else "describe it under 'pools'",
            )


@error("pool-repeated")
def _pool_repeated(subject: Subject) -> Iterator[Problem]:
    """Each pool becomes one instance group or compute resource, and those of a cluster have different names."""
    seen: set[tuple[str, str]] = set()
    for use in uses(subject.settings):
        if (use.cluster, use.name) in seen:
            yield Problem(
                use.path, use.name, f"{use.cluster} lists the pool '{shown(use.name)}' twice", "remove one"
            )
        seen.add((use.cluster, use.name))


@warning("pool-unused", leans_on=CLUSTERS)
def _pool_unused(subject: Subject) -> Iterator[Problem]:
    """A pool that no cluster lists starts no node; a reservation behind it is paid for all the same."""
    used = {use.name for use in uses(subject.settings)}
    for name in subject.settings.pools:
        if name not in used:
            yield Problem(
                f"pools.{name}",
                name,
                f"no cluster uses the pool '{shown(name)}'",
                "add it to a cluster's 'pools', or remove it",
            )


@error("hyperpod-group-name")
def _group_names(subject: Subject) -> Iterator[Problem]:
    """Groups are named 'controller', 'login' and after the pools, and names of groups are unique."""
    for use in uses(subject.settings):
        if use.cluster == "hyperpod" and use.name in _RESERVED_GROUPS:
            yield Problem(
                use.path,
                use.name,
                f"a pool of a HyperPod cluster cannot be named '{use.name}': its own group has that name",
                "rename the pool",
            )


@error("hyperpod-group-count", leans_on=("hyperpod.pools", "hyperpod_eks.pools"))
def _group_count(subject: Subject) -> Iterator[Problem]:
    """A cluster has at most 100 instance groups (botocore: ClusterInstanceGroupSpecifications)."""
    slurm, eks = subject.settings.hyperpod, subject.settings.hyperpod_eks
    counted = []
    if slurm:
        counted.append(("hyperpod", len(slurm.pools), 2 if slurm.login else 1, " (pools, controller, login)"))
    if eks:
        counted.append(("hyperpod_eks", len(eks.pools), 0, ""))
    for cluster, pools, more, what in counted:
        if pools + more > MOST_GROUPS:
            yield Problem(
                f"{cluster}.pools",
                pools,
                f"{pools + more} instance groups{what} are more than the {MOST_GROUPS} that a HyperPod cluster takes",
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


@error("partition-pool", leans_on=("hyperpod.pools", "parallelcluster.pools"))
def _partition_pools(subject: Subject) -> Iterator[Problem]:
    """A partition is given to a pool of this cluster; for another one it does nothing."""
    settings = subject.settings
    for cluster, section in (("hyperpod", settings.hyperpod), ("parallelcluster", settings.parallelcluster)):
        for pool, partition in section.partitions.items() if section else ():
            if section and pool not in section.pools:
                yield Problem(
                    f"{cluster}.partitions.{pool}",
                    partition,
                    f"'{cluster}.pools' does not list the pool '{shown(pool)}'",
                    f"it lists {listed(section.pools, 'and')}",
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
    """The extension runs after initialisation (OnInitComplete), scripts of your own instead (OnCreate)."""
    hyperpod = subject.settings.hyperpod
    if hyperpod and hyperpod.lifecycle_scripts and hyperpod.extension:
        yield Problem(
            "hyperpod.lifecycle_scripts",
            hyperpod.lifecycle_scripts.directory,
            "lifecycle scripts of your own take the place of the extension, and both are given",
            "remove one of 'lifecycle_scripts' and 'extension'",
        )
