"""Rules on HyperPod orchestrated by EKS: version, autoscaling, software, nodes, and task governance."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from catalog.cluster_kinds import HYPERPOD_EKS
from catalog.compute_quota import ComputeQuota
from catalog.hyperpod_eks import (
    CERT_MANAGER,
    CHART_NEURON_TAINTS,
    CHART_NEURON_TYPES,
    HEALTH_AGENT_FAMILIES,
    KUBERNETES_VERSIONS,
    MAX_QUOTA_TYPES,
    OBSERVABILITY,
    OBSERVABILITY_VCPUS,
    TASK_GOVERNANCE,
    TRAINING_OPERATOR,
)
from catalog.kubernetes import NEURON, POOL_LABEL, auto_resumed
from catalog.operators import MPIJOBS, PYTORCHJOBS, clashes
from settings.parser.values import guess, listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import facts, shipped_workloads, uses
from settings.sections.hyperpod_eks import HyperPodEksSettings
from workloads.request import resolve
from workloads.spec import Format

_OPERATORS = {
    Format.HYPERPODPYTORCHJOB: "training_operator",
    Format.PYTORCHJOB: "dependencies.training_operator",
    Format.MPIJOB: "dependencies.mpi_operator",
    Format.TRAINJOB: "trainer",
    Format.JOBSET: "trainer",
    Format.RAYJOB: "jobs",
}
"""The key that enables the operator of a format, by format."""


@error("hyperpod-eks-version", too_strict=True)
def _version(subject: Subject) -> Iterator[Problem]:
    """HyperPod supports fewer Kubernetes versions than EKS.

    Source: catalog.hyperpod_eks. Too strict where HyperPod has added a version since.
    """
    eks = subject.settings.hyperpod_eks
    if eks and eks.kubernetes_version not in KUBERNETES_VERSIONS:
        version = eks.kubernetes_version
        yield Problem(
            "hyperpod_eks.kubernetes_version",
            version,
            f"HyperPod does not support the Kubernetes version '{shown(version)}'"
            f"{guess(version, KUBERNETES_VERSIONS)}",
            f"it supports {listed(KUBERNETES_VERSIONS)}",
        )


@error("hyperpod-eks-autoscaling")
def _autoscaling(subject: Subject) -> Iterator[Problem]:
    """HyperPod's Karpenter needs continuous provisioning and automatic recovery.

    Source: SageMaker guide, "Autoscaling on SageMaker HyperPod EKS", prerequisites.
    """
    eks = subject.settings.hyperpod_eks
    if eks is None:
        return
    if not eks.autoscaling:
        if eks.autoscaled_pools:
            yield Problem(
                "hyperpod_eks.autoscaled_pools",
                ", ".join(eks.autoscaled_pools),
                "autoscaling is off, so no node would ever start in the autoscaled pools",
                "set 'autoscaling: true', or remove 'autoscaled_pools'",
            )
        return
    if not eks.continuous_provisioning:
        yield Problem(
            "hyperpod_eks.continuous_provisioning",
            False,
            "autoscaling needs continuous provisioning",
            "set 'continuous_provisioning: true', or 'autoscaling: false'",
        )
    if eks.node_recovery != "automatic":
        yield Problem(
            "hyperpod_eks.node_recovery",
            eks.node_recovery,
            "autoscaling needs automatic recovery of nodes",
            "set 'node_recovery: automatic', or 'autoscaling: false'",
        )


@error("hyperpod-eks-operator", depends_on=("workloads", "pools"))
def _operators(subject: Subject) -> Iterator[Problem]:
    """A job of a kind that no operator watches is accepted by the cluster, and never starts."""
    eks = subject.settings.hyperpod_eks
    if eks is None:
        return
    for shipped in shipped_workloads(subject.settings):
        if shipped.cluster != HYPERPOD_EKS.name or shipped.pool is None:
            continue
        resolution = resolve(shipped.entry.request(shipped.cluster, shipped.pool))
        switch = _OPERATORS.get(resolution.format) if resolution.format else None
        if switch and not _on(eks, switch):
            yield Problem(
                shipped.cluster_path,
                shipped.cluster,
                f"'{shown(shipped.entry.label)}' is shipped as {resolution.format}, and the operator that runs it is "
                "switched off",
                f"set 'hyperpod_eks.{switch}: {'[kuberay]' if switch == 'jobs' else 'true'}'",
            )


def _on(eks: HyperPodEksSettings, switch: str) -> bool:
    section, _, name = switch.rpartition(".")
    return bool(getattr(getattr(eks, section) if section else eks, name))


@error("hyperpod-eks-clash")
def _clash(subject: Subject) -> Iterator[Problem]:
    """A custom resource definition has one owner: HyperPod's chart, an add-on that a key here enables, or a named one.

    Source: catalog.operators.
    """
    eks = subject.settings.hyperpod_eks
    if eks is None:
        return
    installed_by = {"hyperpod-dependencies": "dependencies"}
    installed_by |= {"trainer": "trainer"} if eks.trainer else {}
    installed_by |= dict.fromkeys(eks.jobs, "jobs")
    installed_by |= {TRAINING_OPERATOR: "training_operator"} if eks.training_operator else {}
    installed_by |= {TASK_GOVERNANCE: "task_governance"} if eks.task_governance else {}
    installed_by |= {OBSERVABILITY: "observability"} if eks.observability else {}
    named = [name for name, add_on in eks.add_ons.items() if add_on is not None]
    for name in named:
        if name in installed_by:
            yield Problem(
                f"hyperpod_eks.add_ons.{name}",
                name,
                f"'hyperpod_eks.{installed_by[name]}' installs the add-on '{name}' already",
                "remove one of the two",
            )
    off = set() if eks.dependencies.training_operator else {PYTORCHJOBS}
    off |= set() if eks.dependencies.mpi_operator else {MPIJOBS}
    for first, second, both in clashes([*installed_by, *named]):
        same = [one for one in both if first != "hyperpod-dependencies" or one not in off]
        if second in named and second not in installed_by and same:
            yield Problem(
                f"hyperpod_eks.add_ons.{second}",
                second,
                f"'{second}' and '{first}' install the same definition, '{same[0]}', and would overwrite each other's",
                f"remove it, or change 'hyperpod_eks.{installed_by.get(first, 'add_ons')}', which installs the other",
            )


@error("hyperpod-eks-certificates")
def _certificates(subject: Subject) -> Iterator[Problem]:
    """HyperPod's training operator gets its certificates from cert-manager (guide, "Installing the operator")."""
    eks = subject.settings.hyperpod_eks
    if eks and eks.training_operator and eks.add_ons.get(CERT_MANAGER, ...) is None:
        yield Problem(
            f"hyperpod_eks.add_ons.{CERT_MANAGER}",
            None,
            "HyperPod's training operator needs cert-manager, and the add-on is left out",
            "keep the add-on, or set 'hyperpod_eks.training_operator: false'",
        )


@error("hyperpod-eks-observability", too_strict=True, depends_on=("hyperpod_eks.pools", "pools"))
def _observability(subject: Subject) -> Iterator[Problem]:
    """The add-on's pods need a node of HyperPod's with room for all of them, or the deployment times out.

    Source: catalog.hyperpod_eks. Too strict where a smaller node has little else to do.
    """
    eks, pools = subject.settings.hyperpod_eks, subject.settings.pools
    if eks is None or eks.observability is None:
        return
    # Karpenter brings nodes for pods that wait, and the deployment would wait for these pods.
    always_running = [name for name in eks.pools if name not in eks.autoscaled_pools]
    sizes = [facts(pools[name].instance_type) for name in always_running if name in pools]
    if not any(size is None or size.vcpus >= OBSERVABILITY_VCPUS for size in sizes):
        yield Problem(
            "hyperpod_eks.observability",
            ", ".join(eks.pools),
            f"no pool of 'hyperpod_eks' starts with a node of {OBSERVABILITY_VCPUS} virtual CPUs (a '4xlarge'), which "
            "HyperPod's observability add-on needs",
            "take a pool of larger nodes, or remove 'hyperpod_eks.observability'",
        )


@error("hyperpod-eks-isolated", too_strict=True, depends_on=("network",))
def _isolated(subject: Subject) -> Iterator[Problem]:
    """The chart that HyperPod demands comes from GitHub, and its images from registries on the internet.

    Too strict where the network has a way there of its own, such as a proxy.
    """
    if subject.settings.hyperpod_eks and subject.settings.network.isolated:
        yield Problem(
            "network.isolated",
            True,
            "HyperPod on EKS installs a chart from GitHub, which an isolated network cannot reach",
            "set 'network.isolated: false', or take HyperPod with Slurm ('hyperpod')",
        )


@warning("hyperpod-eks-resume")
def _resumed(subject: Subject) -> Iterator[Problem]:
    """HyperPod resumes PyTorchJobs in 'kubeflow' and in namespaces that begin with 'hyperpod' only."""
    eks = subject.settings.hyperpod_eks
    if eks and eks.node_recovery == "automatic" and not auto_resumed(eks.namespace):
        yield Problem(
            "hyperpod_eks.namespace",
            eks.namespace,
            f"HyperPod does not resume PyTorchJobs in the namespace '{shown(eks.namespace)}' after a node's failure",
            "choose a namespace that begins with 'hyperpod'",
        )


# botocore: sagemaker ClusterKubernetesLabels and ClusterKubernetesTaint.
_KEY = re.compile(
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
)
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_MAX_KEY_LENGTH, _MAX_VALUE_LENGTH = 317, 63


@error("hyperpod-eks-neuron-plugin", depends_on=("hyperpod_eks.pools", "pools"))
def _neuron_plugin(subject: Subject) -> Iterator[Problem]:
    """HyperPod's chart runs its Neuron device plugin on types and past taints of a fixed list.

    On another node no pod ever gets a Neuron device. Source: catalog.hyperpod_eks.
    """
    eks = subject.settings.hyperpod_eks
    if eks is None or not eks.dependencies.neuron_device_plugin:
        return
    hint = "install a plugin of your own and set 'hyperpod_eks.dependencies.neuron_device_plugin: false'"
    for use in uses(subject.settings):
        known = facts(use.pool.instance_type) if use.cluster == HYPERPOD_EKS.name and use.pool else None
        if known is None or not known.has_neuron:
            continue
        if known.name not in CHART_NEURON_TYPES:
            yield Problem(
                use.path,
                use.name,
                f"pool '{use.name}': the Neuron device plugin of HyperPod's chart does not run on '{known.name}'",
                f"it runs on {listed(CHART_NEURON_TYPES, 'and')}; take one of these, or {hint}",
            )
        for number, taint in enumerate(eks.taints.get(use.name, [])):
            if taint.effect == "prefer-no-schedule" or any(
                taint.key == key and effect in ("", taint.effect) for key, effect in CHART_NEURON_TAINTS
            ):
                continue
            yield Problem(
                f"hyperpod_eks.taints.{use.name}.{number}",
                taint.key,
                f"pool '{use.name}': the Neuron device plugin of HyperPod's chart does not tolerate the taint "
                f"'{shown(taint.key)}' ({taint.effect})",
                f"write '{NEURON}' with the effect 'no-schedule', or {hint}",
            )


@warning("hyperpod-eks-health-agent", depends_on=("hyperpod_eks.pools", "pools"))
def _health_agent(subject: Subject) -> Iterator[Problem]:
    """The health monitoring agent of HyperPod's chart runs on the types of a fixed list.

    On other nodes nothing detects faulty accelerators, so no such node is replaced. Source: catalog.hyperpod_eks.
    """
    for use in uses(subject.settings):
        known = facts(use.pool.instance_type) if use.cluster == HYPERPOD_EKS.name and use.pool else None
        if known and known.is_accelerated and known.family not in HEALTH_AGENT_FAMILIES:
            yield Problem(
                use.path,
                use.name,
                f"pool '{use.name}': HyperPod's health monitoring agent does not run on '{known.name}', so a node "
                "with a faulty accelerator is not found",
                f"its families are {listed(HEALTH_AGENT_FAMILIES, 'and')}",
            )


@error("hyperpod-eks-node-pool", depends_on=("hyperpod_eks.pools",))
def _node_pools(subject: Subject) -> Iterator[Problem]:
    """Settings of nodes by pool name this cluster's pools; for others they do nothing."""
    eks = subject.settings.hyperpod_eks
    for what in ("labels", "taints", "autoscaled_pools"):
        for number, pool in enumerate(getattr(eks, what) if eks else ()):
            if eks and pool not in eks.pools:
                yield Problem(
                    f"hyperpod_eks.{what}.{number if what == 'autoscaled_pools' else pool}",
                    pool,
                    f"'hyperpod_eks.pools' does not list the pool '{shown(pool)}'{guess(pool, eks.pools)}",
                    f"it lists {listed(eks.pools, 'and')}",
                )


@error("hyperpod-eks-node-label")
def _node_labels(subject: Subject) -> Iterator[Problem]:
    """CreateCluster refuses keys and values that Kubernetes does not take (botocore: ClusterKubernetesLabels)."""
    eks = subject.settings.hyperpod_eks
    pairs: list[tuple[str, str, str]] = []
    for pool, labels in eks.labels.items() if eks else ():
        pairs += [(f"hyperpod_eks.labels.{pool}.{key}", key, value) for key, value in labels.items()]
    for pool, taints in eks.taints.items() if eks else ():
        pairs += [
            (f"hyperpod_eks.taints.{pool}.{number}", taint.key, taint.value or "")
            for number, taint in enumerate(taints)
        ]
    for path, key, value in pairs:
        if key == POOL_LABEL and ".labels." in path:
            yield Problem(
                path,
                key,
                f"the label '{POOL_LABEL}' is the pool's name, by which jobs find its nodes",
                "choose another key",
            )
        if not _KEY.fullmatch(key) or len(key) > _MAX_KEY_LENGTH:
            yield Problem(
                path,
                key,
                f"'{shown(key)}' is not a key that Kubernetes takes",
                "write 'name' or 'example.com/name'",
            )
        if not _VALUE.fullmatch(value) or len(value) > _MAX_VALUE_LENGTH:
            yield Problem(
                path,
                value,
                f"'{shown(value)}' is not at most {_MAX_VALUE_LENGTH} letters, digits, '-', '_' and '.' that begin and "
                "end with a letter or digit",
            )


_TEAMS = "hyperpod_eks.task_governance.teams"
# botocore: sagemaker ComputeQuotaTargetTeamName and ClusterSchedulerPriorityClassName, which allow 40 pieces; and
# the team's namespace is at most a label of 63.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def _teams(subject: Subject) -> Mapping[str, ComputeQuota]:
    eks = subject.settings.hyperpod_eks
    return eks.task_governance.teams if eks and eks.task_governance else {}


def _shares(team: ComputeQuota) -> Iterator[tuple[str, str, int]]:
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


@error("hyperpod-eks-quota-pool", depends_on=("hyperpod_eks.pools",))
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


@error("hyperpod-eks-quota-form", depends_on=("pools",))
def _form(subject: Subject) -> Iterator[Problem]:
    """A quota counts whole nodes, or accelerators of an instance type that has some; never both, and not nothing."""
    pools = subject.settings.pools
    for name, team in _teams(subject).items():
        path = f"{_TEAMS}.{name}"
        if not team.nodes and not team.accelerators:
            yield Problem(
                path, name, f"the quota of team '{name}' is empty", "give it 'nodes' or 'accelerators'"
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
        if len(types) > MAX_QUOTA_TYPES:
            yield Problem(
                path,
                len(types),
                f"the quota of team '{name}' has {len(types)} instance types, and HyperPod takes {MAX_QUOTA_TYPES}",
                "name fewer pools",
            )


@error("hyperpod-eks-quota-borrowing")
def _borrowing(subject: Subject) -> Iterator[Problem]:
    """A limit on borrowed compute has an effect only for a team that borrows."""
    for name, team in _teams(subject).items():
        if team.borrow_percent is not None and team.sharing != "lend-and-borrow":
            yield Problem(
                f"{_TEAMS}.{name}.borrow_percent",
                team.borrow_percent,
                f"team '{name}' borrows nothing: its 'sharing' is '{team.sharing}'",
                "set 'sharing: lend-and-borrow', or remove 'borrow_percent'",
            )


@warning("hyperpod-eks-quota-size", depends_on=("pools",))
def _size(subject: Subject) -> Iterator[Problem]:
    """Quotas above the number of nodes cannot be guaranteed: tasks wait, or use nodes of another team's quota."""
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
                f"quotas guarantee {count} nodes of the instance type '{kind}', and the cluster has {there[kind]}",
                "lower the quotas, or take more nodes",
            )
