"""Rules on a ParallelCluster: its queues, and what its head node manages: slurm.conf, its memory, validators."""

from __future__ import annotations

import re
from collections.abc import Iterator

from catalog.cluster_kinds import PARALLELCLUSTER
from catalog.pool import Pool
from catalog.records import read
from settings.deployment import Settings
from settings.parser.values import guess, listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import facts, uses
from settings.sections.parallelcluster import ParallelClusterSettings

# The limits below are ParallelCluster's: aws-parallelcluster, constants.py and validators/cluster_validators.py
# (NameValidator, MaxCountValidator, ComputeResourceSizeValidator, InstanceArchitectureCompatibilityValidator).
MAX_RESOURCES = 50
MAX_NAME_LENGTH = 25
NAME = re.compile(r"[a-z][a-z0-9-]*")
_SECTION = PARALLELCLUSTER.name


def _pools(settings: Settings) -> Iterator[tuple[str, str, Pool]]:
    """Yield the cluster's pools that exist: where each is named, its queue, and the pool."""
    cluster = settings.parallelcluster
    for use in uses(settings):
        if cluster and use.cluster == _SECTION and use.pool:
            yield use.path, cluster.partitions.get(use.name, use.name), use.pool


def ill_named(name: str) -> bool:
    """Return whether ParallelCluster refuses the name of a queue, a compute resource or a login pool."""
    return not NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH or name == "default"


@error("queue-name")
def _names(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster makes names of nodes out of those of the queue and the pool, and keeps them short."""
    cluster = subject.settings.parallelcluster
    if cluster is None:
        return
    named = [
        *((f"{_SECTION}.pools.{index}", name, "pool") for index, name in enumerate(cluster.pools)),
        *((f"{_SECTION}.partitions.{pool}", name, "partition") for pool, name in cluster.partitions.items()),
        *((f"{_SECTION}.login.{name}", name, "pool of login nodes") for name in cluster.login),
    ]
    for path, name, what in named:
        if ill_named(name):
            yield Problem(
                path,
                name,
                f"the {what} '{shown(name)}' is not a name that ParallelCluster accepts: 1 to {MAX_NAME_LENGTH} "
                "lower case letters, digits and dashes that begin with a letter, and not 'default'",
                "rename it",
            )


@error("queue-mixed", depends_on=("pools", "parallelcluster.partitions"))
def _mixed(subject: Subject) -> Iterator[Problem]:
    """A queue has one subnet for EFA's sake, and one way of buying capacity."""
    first: dict[str, Pool] = {}
    for path, queue, pool in _pools(subject.settings):
        other = first.setdefault(queue, pool)
        for what, own, others in (
            ("zone", pool.availability_zone, other.availability_zone),
            ("capacity", _bought(pool), _bought(other)),
        ):
            if own != others:
                yield Problem(
                    path,
                    pool.name,
                    f"the pools '{other.name}' and '{pool.name}' share the partition '{shown(queue)}' and differ in "
                    f"{what}: '{others}' and '{own}'",
                    f"give them partitions of their own under '{_SECTION}.partitions'",
                )


def _bought(pool: Pool) -> str:
    """Return a pool's capacity type as a queue has it: a reservation is on demand."""
    source = pool.capacity.source
    return "on-demand" if source in ("reservation", "reservation-group") else source


@error("queue-count", depends_on=("parallelcluster.pools",))
def _counts(subject: Subject) -> Iterator[Problem]:
    """A cluster has at most 50 compute resources, one per pool, and no more queues than that."""
    cluster = subject.settings.parallelcluster
    if cluster and len(cluster.pools) > MAX_RESOURCES:
        yield Problem(
            f"{_SECTION}.pools",
            len(cluster.pools),
            f"{len(cluster.pools)} pools are more than the {MAX_RESOURCES} compute resources that a ParallelCluster "
            "takes",
            "use fewer, larger pools",
        )


@error("min-nodes", depends_on=("pools", "parallelcluster.pools"))
def _kept(subject: Subject) -> Iterator[Problem]:
    """Nodes that always run are some of the pool's, and all of a block's, which is paid for as a whole."""
    cluster = subject.settings.parallelcluster
    for name, kept in (cluster.min_nodes if cluster else {}).items():
        path = f"{_SECTION}.min_nodes.{name}"
        pool = subject.settings.pools.get(name)
        if cluster and name not in cluster.pools:
            yield Problem(
                path,
                kept,
                f"'{_SECTION}.pools' does not list the pool '{shown(name)}'{guess(name, cluster.pools)}",
                f"it lists {listed(cluster.pools, 'and')}",
            )
        elif pool and not 0 <= kept <= pool.nodes:
            yield Problem(path, kept, f"{kept} nodes are not 0 to {pool.nodes}, which the pool '{name}' has")
        elif pool and pool.capacity.source == "capacity-block" and kept != pool.nodes:
            yield Problem(
                path,
                kept,
                f"the pool '{name}' is a Capacity Block, of which ParallelCluster keeps all {pool.nodes} nodes or "
                "refuses the cluster",
                "remove it; a smaller pool uses less of the block",
            )


@error("cluster-architecture", depends_on=("pools",))
def _architecture(subject: Subject) -> Iterator[Problem]:
    """All nodes of a ParallelCluster boot images of one architecture, the head node's."""
    cluster = subject.settings.parallelcluster
    head = facts(cluster.head_node.instance_type) if cluster else None
    if cluster is None or head is None:
        return
    for path, name, what in _types(subject.settings, cluster):
        found = facts(name)
        if found and found.architecture != head.architecture:
            yield Problem(
                path,
                name,
                f"{what}: '{name}' is {found.architecture} and the head node's '{head.name}' is {head.architecture}",
                f"choose a type of {found.architecture} for 'head_node' and every login pool, or another here; "
                "'trainforge catalog refresh' brings types that the catalog lacks",
            )


def _types(settings: Settings, cluster: ParallelClusterSettings) -> Iterator[tuple[str, str, str]]:
    for path, _, pool in _pools(settings):
        yield path, pool.instance_type, f"pool '{pool.name}'"
    for name, login in cluster.login.items():
        yield f"{_SECTION}.login.{name}.instance_type", login.instance_type, f"login pool '{name}'"


@warning("interface-type-mixed", depends_on=("pools", "parallelcluster.pools"))
def _interfaces(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster attaches EFA in one way in the whole cluster (DevSettings.EfaInterfaceType)."""
    pools = [
        (path, pool)
        for path, _, pool in _pools(subject.settings)
        if (found := facts(pool.instance_type)) and found.supports_efa
    ]
    if not any(pool.interface_type == "efa" for _, pool in pools):
        return
    for _, pool in pools:
        if pool.interface_type != "efa":
            yield Problem(
                f"pools.{pool.name}" + (".interface_type" if pool.interface_type else ""),
                pool.interface_type,
                f"pool '{pool.name}' gets combined EFA interfaces too, which take an address each: another pool of the "
                "cluster asks for 'efa', and ParallelCluster uses one type for all",
                "set the same 'interface_type' in every pool of the cluster",
            )


_OWN_LINES = frozenset(
    {
        "epilog",
        "grestypes",
        "launchparameters",
        "prolog",
        "reconfigflags",
        "resumefailprogram",
        "resumeprogram",
    }
    | {
        "resumetimeout",
        "slurmctldhost",
        "slurmctldlogfile",
        "slurmctldparameters",
        "slurmdlogfile",
        "slurmuser",
    }
    | {"suspendexcnodes", "suspendprogram", "suspendtime", "taskplugin", "treewidth"}
)
_ACCOUNTING_LINES = frozenset(
    {"accountingstoragetype", "accountingstoragehost", "accountingstorageport", "accountingstorageuser"}
    | {"jobacctgathertype"}
)
"""Settings that ParallelCluster writes itself. Source: SLURM_SETTINGS_DENY_LIST of slurm_settings_validator.py."""
_RESERVED_NAME_PARTS = ("-st-", "-dy-")
"""Parts of the names of ParallelCluster's own nodes. Source: CustomSlurmNodeNamesValidator."""
_DESCRIBES = frozenset({"nodename", "partitionname", "nodeset", "downnodes", "frontendname"})
"""First words of the lines of slurm.conf that take several settings (slurm.conf manual, 24.11)."""
_NODES_PER_GIB, _SYSTEM_GIB, _ENOUGH_GIB = 25, 0.6, 16
"""Memory that slurmctld takes. Source: cluster_validators.py, HeadNodeMemorySizeValidator."""


@error("slurm-setting", depends_on=("accounting",))
def _slurm_settings(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster writes some lines of slurm.conf itself, and a second one would undo its work.

    Its own validator looks at lines of one setting only; in a line of several none of them is a setting of the whole
    cluster but where the line describes nodes or a partition.
    """
    cluster = subject.settings.parallelcluster
    reserved = _OWN_LINES | (_ACCOUNTING_LINES if subject.settings.accounting else frozenset())
    for index, line in enumerate(cluster.slurm.settings if cluster else ()):
        if _DESCRIBES & {name.lower() for name in line}:
            continue
        for name in line:
            if name.lower() in reserved:
                yield Problem(
                    f"parallelcluster.slurm.settings.{index}.{name}",
                    line[name],
                    f"ParallelCluster writes '{shown(name)}' into slurm.conf itself and accepts no second one",
                    "remove it",
                )


@error("slurm-node-name")
def _node_names(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster takes nodes whose names contain '-st-' or '-dy-' for its own, and would end them."""
    cluster = subject.settings.parallelcluster
    for index, line in enumerate(cluster.slurm.settings if cluster else ()):
        for name, value in line.items():
            if name.lower() == "nodename" and any(part in str(value) for part in _RESERVED_NAME_PARTS):
                yield Problem(
                    f"parallelcluster.slurm.settings.{index}.{name}",
                    value,
                    f"the node name '{shown(value)}' contains '-st-' or '-dy-', which names of ParallelCluster's own "
                    "nodes contain",
                    "rename the node",
                )


@error("head-node-memory", depends_on=("parallelcluster.pools", "pools"))
def _memory(subject: Subject) -> Iterator[Problem]:
    """A head node needs memory for the nodes that it manages: ParallelCluster refuses one with too little."""
    cluster = subject.settings.parallelcluster
    found = facts(cluster.head_node.instance_type) if cluster else None
    if cluster is None or found is None:
        return
    pools = subject.settings.pools
    nodes = sum(pools[name].nodes for name in cluster.pools if name in pools)
    least = min(nodes / _NODES_PER_GIB + _SYSTEM_GIB, _ENOUGH_GIB)
    if found.memory_gib < least:
        yield Problem(
            "parallelcluster.head_node.instance_type",
            found.name,
            f"the head node '{found.name}' has {found.memory_gib:g} GiB of memory, and {nodes} nodes need "
            f"{least:g} GiB: {nodes} / {_NODES_PER_GIB} + {_SYSTEM_GIB}, at most {_ENOUGH_GIB}",
            "choose a type with more memory",
        )


@error("validator-name", too_strict=True)
def _validators(subject: Subject) -> Iterator[Problem]:
    """Validators are left out one by one, by the name of their type; a misspelt one leaves out nothing.

    Source: the validators of the pinned aws-parallelcluster. Too strict where AWS has added one since.
    """
    cluster = subject.settings.parallelcluster
    if cluster is None or not cluster.suppress_validators:
        return
    known = read("parallelcluster.json")["validators"]
    for index, entry in enumerate(cluster.suppress_validators):
        if entry.validator not in known:
            yield Problem(
                f"parallelcluster.suppress_validators.{index}.validator",
                entry.validator,
                f"'{shown(entry.validator)}' is not the type of one of ParallelCluster's validators"
                f"{guess(entry.validator, known)}",
                "a finding of a validator names its type",
            )
