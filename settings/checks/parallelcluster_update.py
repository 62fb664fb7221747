"""Rules on what an update would do to a ParallelCluster that stands; silent where none is given to compare with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from catalog.versions import PARALLELCLUSTER
from settings.checks.parallelcluster_facts import HEAD_NODE, STOPPED, Change, Fact, changed
from settings.checks.parallelcluster_standing import (
    Standing,
    login_facts,
    login_nodes_before,
    resource_facts,
    standing,
    standing_of,
)
from settings.checks.rule import Problem, Subject, error, warning
from settings.parser.values import shown

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
    for change in _changes(subject, HEAD_NODE):
        yield Problem(
            change.fact.path,
            change.after,
            f"the head node of the cluster that stands would have to be replaced: {change.fact.what} changes "
            f"{_step(change)}, and ParallelCluster refuses that",
            f"take it back; or {_WAY_OUT}",
        )


@warning("fleet-stop-needed", compares=True)
def _stopped(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster makes some changes only while no compute node runs, and some while no login node does."""
    before, after = _standings(subject)
    hint = "stop them before the deployment ('pcluster update-compute-fleet --status STOP_REQUESTED')"
    facts = [
        *STOPPED,
        *(fact for where in before.resources & after.resources for fact in resource_facts(*where)),
    ]
    for change in _changes(subject, facts):
        yield Problem(
            change.fact.path,
            change.after,
            f"{change.fact.what} changes {_step(change)}, which ParallelCluster does while all compute nodes are "
            "stopped, and login nodes where they share it",
            hint,
        )
    cluster = subject.settings.parallelcluster
    if cluster and cluster.slurm.update_strategy != "terminate":
        for queue, pool in sorted(before.resources - after.resources):
            yield Problem(
                "parallelcluster.pools",
                pool,
                f"the pool '{shown(pool)}' goes from the partition '{shown(queue)}', which ParallelCluster does while "
                "all compute nodes are stopped",
                f"{hint}, or set 'slurm.update_strategy: terminate', which ends its jobs",
            )


@warning("login-stop-needed", compares=True)
def _logins(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster replaces no login node that people may be on: it changes a pool whose nodes are stopped."""
    before, after = _standings(subject)
    running = {name for name in before.logins if login_nodes_before(subject.deployed, name)}
    for name in sorted(running - after.logins):
        yield Problem(
            "parallelcluster.login",
            name,
            f"the pool of login nodes '{shown(name)}' goes, which ParallelCluster does while its nodes are stopped",
            _empty(name),
        )
    for name in sorted(running & after.logins):
        for change in _changes(subject, login_facts(name)):
            yield Problem(
                change.fact.path,
                change.after,
                f"{change.fact.what} changes {_step(change)}, which ParallelCluster does while the pool's nodes are "
                "stopped",
                _empty(name),
            )


def _empty(name: str) -> str:
    return f"deploy 'parallelcluster.login.{name}.nodes: 0' first, with nothing else changed"


def _standings(subject: Subject) -> tuple[Standing, Standing]:
    """Return what stands before and after; nothing of either where there is nothing to compare."""
    if subject.deployed is None or subject.settings.parallelcluster is None:
        return Standing(), Standing()
    return standing(subject.deployed), standing_of(subject.settings)


def _changes(subject: Subject, facts: Iterable[Fact]) -> Iterator[Change]:
    settings, deployed = subject.settings, subject.deployed
    if settings.parallelcluster is None or deployed is None:
        return
    for fact in facts:
        change = changed(fact, settings, deployed)
        if change:
            yield change


def _step(change: Change) -> str:
    if change.fact.presence:
        return "from no to yes" if change.after else "from yes to no"
    old, new = (
        "nothing" if value is None else f"'{shown(value)}'" for value in (change.before, change.after)
    )
    return f"from {old} to {new}"
