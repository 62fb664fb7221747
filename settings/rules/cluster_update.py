"""Rules on an update of a cluster: changes that Kubernetes, Helm or ParallelCluster refuses, or that end jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from catalog.cluster_kinds import EKS, HYPERPOD_EKS
from catalog.versions import PARALLELCLUSTER
from settings.deployment import Settings
from settings.parser.values import shown
from settings.rules.parallelcluster_facts import (
    HEAD_NODE,
    STOPPED,
    Change,
    DeployedPools,
    Fact,
    changed,
    deployed_pools,
    login_facts,
    login_nodes_before,
    pools_of,
    resource_facts,
)
from settings.rules.rule import Problem, Subject, error, warning
from settings.sections.eks import EksSettings
from settings.sections.hyperpod_eks import HyperPodEksSettings

JUDGED = (
    "eks.namespace",
    "eks.software.bucket_claim",
    "eks.software.jobs",
    "eks.software.queues",
    "hyperpod_eks.bucket_claim",
    "hyperpod_eks.jobs",
    "hyperpod_eks.namespace",
    "hyperpod_eks.trainer",
)
"""Keys whose changes are judged here; changes of them that no rule names are made in place."""

_QUEUES = "eks.software.queues"
_DEFAULT_QUEUE = "default"
_JOBS = {
    "trainer": "TrainJob",
    "training-operator": "PyTorchJob",
    "mpi-operator": "MPIJob",
    "kuberay": "RayJob",
}
"""The kind of each operator's jobs."""

_DEPENDENCIES = {
    "training_operator": "HyperPodPyTorchJob",
    "trainer": "TrainJob",
    "dependencies.training_operator": "PyTorchJob",
    "dependencies.mpi_operator": "MPIJob",
}
"""The kind of the jobs of each operator on HyperPod EKS, by its key."""


def _both(subject: Subject) -> tuple[Settings, Settings] | None:
    before = subject.deployed.settings if subject.deployed else None
    return (before, subject.settings) if before else None


def _eks(subject: Subject) -> tuple[EksSettings, EksSettings] | None:
    """Return the section before and after, None where a side has none."""
    both = _both(subject)
    if both is None or both[0].eks is None or both[1].eks is None:
        return None
    return both[0].eks, both[1].eks


def _hyperpod(subject: Subject) -> tuple[HyperPodEksSettings, HyperPodEksSettings] | None:
    both = _both(subject)
    if both is None or both[0].hyperpod_eks is None or both[1].hyperpod_eks is None:
        return None
    return both[0].hyperpod_eks, both[1].hyperpod_eks


@error("update-moves-default-queue", compares=True)
def _default_queue(subject: Subject) -> Iterator[Problem]:
    """The queue of jobs that name none is a LocalQueue, and Kueue never changes where one points."""
    sections = _eks(subject)
    if sections is None or sections[0].namespace != sections[1].namespace:
        return
    old, new = (_first(section) for section in sections)
    if old and new and old != new:
        yield Problem(
            _QUEUES,
            new,
            f"jobs that name no queue would go to '{shown(new)}' instead of '{shown(old)}', and Kubernetes refuses the "
            "change: a LocalQueue's ClusterQueue is immutable",
            f"keep '{shown(old)}' first; or remove '{_QUEUES}', deploy, add the queues in the new order, deploy",
        )


def _first(section: EksSettings) -> str | None:
    queues = section.software.queues
    return _DEFAULT_QUEUE if _DEFAULT_QUEUE in queues else next(iter(queues), None)


@error("update-moves-queues", compares=True)
def _queues_of_namespace(subject: Subject) -> Iterator[Problem]:
    """Queues belong to the Helm release of the jobs' namespace, and no release takes over objects of another."""
    sections = _eks(subject)
    if sections is None:
        return
    old, new = sections
    if old.namespace != new.namespace and old.software.queues and new.software.queues:
        yield Problem(
            "eks.namespace",
            new.namespace,
            f"the namespace of the jobs changes from '{shown(old.namespace)}' to '{shown(new.namespace)}' while the "
            "cluster has queues: Helm refuses to install them a second time",
            f"remove '{_QUEUES}', deploy, change the namespace, deploy, add the queues again, deploy",
        )


@error("update-changes-volume", compares=True)
def _volume(subject: Subject) -> Iterator[Problem]:
    """The source of a PersistentVolume is immutable, and the mount name of a Lustre file system is a part of it."""
    both = _both(subject)
    sections = [found for found in (_eks(subject), _hyperpod(subject)) if found]
    # A volume's name has the namespace of its claim.
    if both is None or all(old.namespace != new.namespace for old, new in sections):
        return
    old, new = (one.storage.lustre.existing if one.storage.lustre else None for one in both)
    if old and new and old.file_system_id == new.file_system_id and old.mount_name != new.mount_name:
        yield Problem(
            "storage.lustre.existing.mount_name",
            new.mount_name,
            f"the mount name of '{shown(old.file_system_id)}' changes from '{shown(old.mount_name)}' to "
            f"'{shown(new.mount_name)}', and Kubernetes refuses the change: the source of a volume is immutable",
            "end the jobs, remove 'storage.lustre', deploy, add it with the new name, deploy",
        )


@error("update-ends-jobs", too_strict=True, compares=True)
def _ended(subject: Subject) -> Iterator[Problem]:
    """Jobs do not outlive their namespace or their operator, nor are queues removed while jobs are in them.

    Too strict where no such job is left.
    """
    eks, hyperpod = _eks(subject), _hyperpod(subject)
    if eks:
        old, new = eks
        yield from _namespace_left(EKS.name, old.namespace, new.namespace)
        for name in old.software.jobs:
            if name not in new.software.jobs:
                yield _operator_gone("eks.software.jobs", name, _JOBS[name])
        if old.software.queues and not new.software.queues:
            yield Problem(
                _QUEUES,
                "",
                "the queues are removed: while a job is in one of them, Kueue would be deleted before its queues and "
                "their definitions, which only Kueue can release, so that queues could not be installed again",
                _acknowledge("workloads.kueue.x-k8s.io"),
            )
    if hyperpod:
        yield from _namespace_left(HYPERPOD_EKS.name, hyperpod[0].namespace, hyperpod[1].namespace)
        for key, kind in _DEPENDENCIES.items():
            before, after = (_enabled(section, key) for section in hyperpod)
            if before and not after:
                yield _operator_gone(f"hyperpod_eks.{key}", key, kind)
        for name in hyperpod[0].jobs:
            if name not in hyperpod[1].jobs:
                yield _operator_gone("hyperpod_eks.jobs", name, _JOBS[name])


def _namespace_left(section: str, old: str, new: str) -> Iterator[Problem]:
    if old != new:
        outcome = (
            "its jobs and claims would remain" if old == "default" else "everything in it would be deleted"
        )
        yield Problem(
            f"{section}.namespace",
            new,
            f"the namespace of the jobs changes from '{shown(old)}' to '{shown(new)}': the stack gives up the old "
            f"one, and {outcome}, running jobs included",
            f"let the jobs end, and acknowledge 'update-ends-jobs' when 'kubectl get pods --namespace {shown(old)}' "
            "shows none",
        )


def _operator_gone(path: str, name: str, kind: str) -> Problem:
    return Problem(
        path,
        name,
        f"'{shown(name)}' is removed: jobs of the kind {kind} would be deleted with its definition, or left without "
        "an operator",
        _acknowledge(f"{kind.lower()}s"),
    )


def _acknowledge(objects: str) -> str:
    return (
        f"let the jobs end, and acknowledge 'update-ends-jobs' when 'kubectl get {objects} --all-namespaces' shows "
        "none"
    )


def _enabled(section: HyperPodEksSettings, key: str) -> bool:
    first, _, last = key.rpartition(".")
    return bool(getattr(getattr(section, first) if first else section, last))


_REPLACE_HINT = (
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
            f"the deployed cluster was made by ParallelCluster {made_by}, and {PARALLELCLUSTER} updates none of "
            "another version",
            _REPLACE_HINT,
        )
    for change in _changes(subject, HEAD_NODE):
        yield Problem(
            change.fact.path,
            change.after,
            f"the head node of the deployed cluster would have to be replaced: {change.fact.what} changes "
            f"{_step(change)}, and ParallelCluster refuses that",
            f"undo the change; or {_REPLACE_HINT}",
        )


@warning("fleet-stop-needed", compares=True)
def _stopped(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster makes some changes only while no compute node runs, and some while no login node does."""
    before, after = _pools_before_and_after(subject)
    hint = "stop them before the deployment ('pcluster update-compute-fleet --status STOP_REQUESTED')"
    facts = [
        *STOPPED,
        *(fact for where in before.resources & after.resources for fact in resource_facts(*where)),
    ]
    for change in _changes(subject, facts):
        yield Problem(
            change.fact.path,
            change.after,
            f"{change.fact.what} changes {_step(change)}, which ParallelCluster allows only while all compute "
            "nodes are "
            "stopped, and login nodes where they share it",
            hint,
        )
    cluster = subject.settings.parallelcluster
    if cluster and cluster.slurm.update_strategy != "terminate":
        for queue, pool in sorted(before.resources - after.resources):
            yield Problem(
                "parallelcluster.pools",
                pool,
                f"the pool '{shown(pool)}' leaves the partition '{shown(queue)}', which ParallelCluster allows "
                "only while "
                "all compute nodes are stopped",
                f"{hint}, or set 'slurm.update_strategy: terminate', which ends its jobs",
            )


@warning("login-stop-needed", compares=True)
def _logins(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster replaces no login node that people may be on: it changes a pool whose nodes are stopped."""
    before, after = _pools_before_and_after(subject)
    running = {name for name in before.logins if login_nodes_before(subject.deployed, name)}
    for name in sorted(running - after.logins):
        yield Problem(
            "parallelcluster.login",
            name,
            f"the pool of login nodes '{shown(name)}' is removed, which ParallelCluster allows only while its "
            "nodes are stopped",
            _empty(name),
        )
    for name in sorted(running & after.logins):
        for change in _changes(subject, login_facts(name)):
            yield Problem(
                change.fact.path,
                change.after,
                f"{change.fact.what} changes {_step(change)}, which ParallelCluster allows only while the pool's "
                "nodes are "
                "stopped",
                _empty(name),
            )


def _empty(name: str) -> str:
    return f"deploy 'parallelcluster.login.{name}.nodes: 0' first, with nothing else changed"


def _pools_before_and_after(subject: Subject) -> tuple[DeployedPools, DeployedPools]:
    """Return the pools before and after; none of either where there is nothing to compare."""
    if subject.deployed is None or subject.settings.parallelcluster is None:
        return DeployedPools(), DeployedPools()
    return deployed_pools(subject.deployed), pools_of(subject.settings)


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
