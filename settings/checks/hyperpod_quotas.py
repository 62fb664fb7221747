"""Rules on task governance of HyperPod on EKS: names of teams and priorities, and what quotas are made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from catalog.hyperpod_eks import MOST_QUOTA_TYPES
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import facts
from settings.parser.values import guess, listed, shown
from settings.sections.hyperpod_eks import TeamSettings

_TEAMS = "hyperpod_eks.task_governance.teams"
# botocore: sagemaker ComputeQuotaTargetTeamName and ClusterSchedulerPriorityClassName, which allow 40 pieces; and
# the team's namespace is at most a label of 63.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def _teams(subject: Subject) -> Mapping[str, TeamSettings]:
    eks = subject.settings.hyperpod_eks
    return eks.task_governance.teams if eks and eks.task_governance else {}


def _shares(team: TeamSettings) -> Iterator[tuple[str, str, int]]:
    """Yield what a team has: what it is counted in, the pool, how many."""
    for pool, count in team.nodes.items():
        yield "nodes", pool, count
    for pool, count in team.accelerators.items():
        yield "accelerators", pool, count


@error("hyperpod-eks-governance-name")
def _names(subject: Subject) -> Iterator[Problem]:
    """Names of teams and priorities become names in Kubernetes (botocore: ComputeQuotaTargetTeamName)."""
    eks = subject.settings.hyperpod_eks
    governance = eks.task_governance if eks else None
    if governance is None:
        return
    for kind, what, names in (
        ("priorities", "priority", governance.priorities),
        ("teams", "team", governance.teams),
    ):
        for name in names:
            if not _NAME.fullmatch(name):
                yield Problem(
                    f"hyperpod_eks.task_governance.{kind}.{name}",
                    name,
                    f"the {what} '{shown(name)}' is not 1 to 40 lower case letters, digits and dashes that begin and "
                    "end with a letter or digit",
                )


@error("hyperpod-eks-quota-pool", leans_on=("hyperpod_eks.pools",))
def _pools(subject: Subject) -> Iterator[Problem]:
    """A quota is a share of this cluster's own nodes."""
    eks = subject.settings.hyperpod_eks
    for name, team in _teams(subject).items():
        for unit, pool, _ in _shares(team):
            if eks and pool not in eks.pools:
                yield Problem(
                    f"{_TEAMS}.{name}.{unit}.{pool}",
                    pool,
                    f"'hyperpod_eks.pools' does not list the pool '{shown(pool)}'{guess(pool, eks.pools)}",
                    f"it lists {listed(eks.pools, 'and')}",
                )


@error("hyperpod-eks-quota-form", leans_on=("pools",))
def _form(subject: Subject) -> Iterator[Problem]:
    """A quota counts whole nodes, or accelerators of an instance type that has some; never both, and not nothing."""
    pools = subject.settings.pools
    for name, team in _teams(subject).items():
        path = f"{_TEAMS}.{name}"
        if not team.nodes and not team.accelerators:
            yield Problem(
                path, name, f"team '{name}' has a quota of nothing", "give it 'nodes' or 'accelerators'"
            )
        counted = {
            unit: {pools[p].instance_type for u, p, _ in _shares(team) if u == unit and p in pools}
            for unit in ("nodes", "accelerators")
        }
        for kind in sorted(counted["nodes"] & counted["accelerators"]):
            yield Problem(
                path,
                kind,
                f"team '{name}' has whole nodes and single accelerators of the instance type '{kind}'",
                "count one type in one way",
            )
        for pool in team.accelerators:
            found = facts(pools[pool].instance_type) if pool in pools else None
            if found and not found.is_accelerated:
                yield Problem(
                    f"{path}.accelerators.{pool}",
                    pool,
                    f"nodes of pool '{pool}' ('{found.name}') have no accelerators",
                    f"write it under 'teams.{name}.nodes'",
                )
        types = counted["nodes"] | counted["accelerators"]
        if len(types) > MOST_QUOTA_TYPES:
            yield Problem(
                path,
                len(types),
                f"the quota of team '{name}' has {len(types)} instance types, and HyperPod takes {MOST_QUOTA_TYPES}",
                "name fewer pools",
            )


@error("hyperpod-eks-quota-borrowing")
def _borrowing(subject: Subject) -> Iterator[Problem]:
    """A bound on what is borrowed says something only of a team that borrows."""
    for name, team in _teams(subject).items():
        if team.borrow_percent is not None and team.sharing != "lend-and-borrow":
            yield Problem(
                f"{_TEAMS}.{name}.borrow_percent",
                team.borrow_percent,
                f"team '{name}' borrows nothing: its 'sharing' is '{team.sharing}'",
                "set 'sharing: lend-and-borrow', or remove 'borrow_percent'",
            )


@warning("hyperpod-eks-quota-size", leans_on=("pools",))
def _size(subject: Subject) -> Iterator[Problem]:
    """Quotas of more than there is promise what cannot be kept: tasks wait, or take what another team was promised."""
    promised: Counter[str] = Counter()
    there: Counter[str] = Counter()
    settings = subject.settings
    for pool in settings.hyperpod_eks.pools if settings.hyperpod_eks else ():
        if pool in settings.pools:
            there[settings.pools[pool].instance_type] += settings.pools[pool].nodes
    for team in _teams(subject).values():
        for unit, pool, count in _shares(team):
            if pool not in settings.pools:
                continue
            found = facts(settings.pools[pool].instance_type)
            each = found.accelerator.count if found and found.accelerator and unit == "accelerators" else 1
            promised[settings.pools[pool].instance_type] += -(-count // each)
    for kind, count in promised.items():
        if kind in there and count > there[kind]:
            yield Problem(
                _TEAMS,
                count,
                f"quotas promise {count} nodes of the instance type '{kind}', and there are {there[kind]}",
                "lower the quotas, or take more nodes",
            )
