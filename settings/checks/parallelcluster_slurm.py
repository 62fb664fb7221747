"""Rules on what a ParallelCluster's head node manages: lines of slurm.conf, its memory, suppressed validators."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.records import read
from settings.checks.rule import Problem, Subject, error
from settings.checks.selection import facts
from settings.parser.values import guess, shown

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


@error("slurm-setting", leans_on=("accounting",))
def _slurm_settings(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster writes some lines of slurm.conf itself, and a second one would undo its work.

    Its own validator looks at lines of one setting only; in a line of several none of them is a setting of the whole
    cluster but where the line describes nodes or a partition.
    """
    wanted = subject.settings.parallelcluster
    reserved = _OWN_LINES | (_ACCOUNTING_LINES if subject.settings.accounting else frozenset())
    for index, line in enumerate(wanted.slurm.settings if wanted else ()):
        if _DESCRIBES & {name.lower() for name in line}:
            continue
        for name in line:
            if name.lower() in reserved:
                yield Problem(
                    f"parallelcluster.slurm.settings.{index}.{name}",
                    line[name],
                    f"ParallelCluster writes '{shown(name)}' into slurm.conf itself and takes no other",
                    "remove it",
                )


@error("slurm-node-name")
def _node_names(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster takes nodes whose names contain '-st-' or '-dy-' for its own, and would end them."""
    wanted = subject.settings.parallelcluster
    for index, line in enumerate(wanted.slurm.settings if wanted else ()):
        for name, value in line.items():
            if name.lower() == "nodename" and any(part in str(value) for part in _RESERVED_NAME_PARTS):
                yield Problem(
                    f"parallelcluster.slurm.settings.{index}.{name}",
                    value,
                    f"the node name '{shown(value)}' contains '-st-' or '-dy-', which names of ParallelCluster's own "
                    "nodes contain",
                    "rename the node",
                )


@error("head-node-memory", leans_on=("parallelcluster.pools", "pools"))
def _memory(subject: Subject) -> Iterator[Problem]:
    """A head node needs memory for the nodes that it manages: ParallelCluster refuses one with too little."""
    wanted = subject.settings.parallelcluster
    found = facts(wanted.head_node.instance_type) if wanted else None
    if wanted is None or found is None:
        return
    pools = subject.settings.pools
    nodes = sum(pools[name].nodes for name in wanted.pools if name in pools)
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
    wanted = subject.settings.parallelcluster
    if wanted is None or not wanted.suppress_validators:
        return
    known = read("parallelcluster.json")["validators"]
    for index, entry in enumerate(wanted.suppress_validators):
        if entry.validator not in known:
            yield Problem(
                f"parallelcluster.suppress_validators.{index}.validator",
                entry.validator,
                f"'{shown(entry.validator)}' is not the type of one of ParallelCluster's validators"
                f"{guess(entry.validator, known)}",
                "a finding of a validator names its type",
            )
