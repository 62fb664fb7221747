"""Rules on what runs on an EKS cluster beside the jobs: owners of definitions, devices, operators of jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from catalog.cluster_kinds import EKS, KUBERNETES
from catalog.eks import DRA_FROM, KUBERNETES_VERSIONS
from catalog.instance_facts import InstanceFacts
from catalog.job_queues import Queue
from catalog.operators import clashes
from settings.parser.values import listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import ShippedWorkload, facts, in_images, shipped_workloads, uses
from settings.sections.eks import SoftwareSettings
from workloads.request import resolve
from workloads.spec import Format
from workloads.stage_runs import TOGETHER

NETWORK_ADD_ONS = ("coredns", "eks-pod-identity-agent", "kube-proxy", "vpc-cni")
"""Add-ons that every cluster needs; they are not part of `software`."""

_SOFTWARE = "eks.software"
_OPERATORS = {
    Format.TRAINJOB: "trainer",
    # Trainer's chart brings JobSet.
    Format.JOBSET: "trainer",
    Format.PYTORCHJOB: "training-operator",
    Format.MPIJOB: "mpi-operator",
    Format.RAYJOB: "kuberay",
}


def _software(subject: Subject) -> SoftwareSettings | None:
    return subject.settings.eks.software if subject.settings.eks else None


def _facts(subject: Subject) -> Iterator[InstanceFacts]:
    for use in uses(subject.settings):
        known = facts(use.pool.instance_type) if use.cluster == EKS.name and use.pool else None
        if known:
            yield known


@error("eks-definitions")
def _definitions(subject: Subject) -> Iterator[Problem]:
    """A custom resource definition has one owner: two owners overwrite each other's at every change.

    Kubeflow's own installation of the training operator and the MPI operator both bring that of MPIJob, and HyperPod's
    task governance brings Kueue.
    """
    software = _software(subject)
    if software is None:
        return
    owners: dict[str, str] = {name: f"{_SOFTWARE}.jobs.{index}" for index, name in enumerate(software.jobs)}
    if software.devices.gpu == "gpu-operator":
        owners["gpu-operator"] = f"{_SOFTWARE}.devices.gpu"
    if software.queues:
        owners["kueue"] = f"{_SOFTWARE}.queues"
    owners |= {name: f"{_SOFTWARE}.add_ons.{name}" for name, add_on in software.add_ons.items() if add_on}
    for first, second, both in clashes(owners):
        yield Problem(
            owners[second],
            second,
            f"'{first}' and '{second}' both install the custom resource definition {listed(both[:1])}"
            + (f" and {len(both) - 1} more" if len(both) > 1 else ""),
            f"remove one of them: '{owners[first]}' or '{owners[second]}'",
        )


@error("eks-operator-repeated")
def _operator_repeated(subject: Subject) -> Iterator[Problem]:
    """An operator is installed once."""
    software = _software(subject)
    for index, name in enumerate(software.jobs if software else ()):
        if software and name in software.jobs[:index]:
            yield Problem(f"{_SOFTWARE}.jobs.{index}", name, f"'{name}' is listed twice", "remove one")


@error("eks-add-on-network")
def _network_add_on(subject: Subject) -> Iterator[Problem]:
    """Network, proxy, DNS and credentials of pods come with every cluster, set as its nodes need them."""
    software = _software(subject)
    for name in software.add_ons if software else ():
        if name in NETWORK_ADD_ONS:
            yield Problem(
                f"{_SOFTWARE}.add_ons.{name}",
                name,
                f"'{name}' is part of every cluster and cannot be configured",
                "remove it here",
            )


@error("eks-add-on-lustre", depends_on=("storage",))
def _lustre_add_on(subject: Subject) -> Iterator[Problem]:
    """Pods mount the shared file system by the FSx CSI driver, and our runs keep everything there."""
    software = _software(subject)
    if software is None or not subject.settings.storage.lustre:
        return
    if software.add_ons.get("aws-fsx-csi-driver", software) is None:
        for shipped in in_images(subject.settings):
            if shipped.cluster == EKS.name:
                yield Problem(
                    f"{_SOFTWARE}.add_ons.aws-fsx-csi-driver",
                    None,
                    f"'{shown(shipped.entry.label)}' keeps its runs in the shared file system, and its driver is "
                    "left out",
                    "remove this line",
                )
                return


@error("eks-gpu-operator", depends_on=("eks.pools", "pools"))
def _gpu_operator(subject: Subject) -> Iterator[Problem]:
    """The GPU Operator looks for NVIDIA GPUs, and Neuron devices are none."""
    software = _software(subject)
    if software is None or software.devices.gpu != "gpu-operator":
        return
    known = list(_facts(subject))
    if known and not any(one.has_gpus for one in known):
        what = "Neuron devices only" if any(one.has_neuron for one in known) else "no accelerators"
        yield Problem(
            f"{_SOFTWARE}.devices.gpu",
            "gpu-operator",
            f"the GPU Operator has no effect: the cluster has {what}",
            "remove it, or list a pool with GPUs",
        )


@error("eks-neuron-scheduler", depends_on=("eks.pools", "pools"))
def _neuron_scheduler(subject: Subject) -> Iterator[Problem]:
    """Neuron's scheduler is an extension of its device plugin's chart, which comes with Neuron pools."""
    software = _software(subject)
    if software is None or not software.devices.neuron_scheduler:
        return
    known = list(_facts(subject))
    if software.devices.neuron == "none" or (known and not any(one.has_neuron for one in known)):
        yield Problem(
            f"{_SOFTWARE}.devices.neuron_scheduler",
            True,
            "Neuron's scheduler comes with the Neuron device plugin, and this cluster has none",
            "remove it, or list a pool with Neuron devices",
        )


@error("eks-dra-version", depends_on=("eks.kubernetes_version",))
def _dra_version(subject: Subject) -> Iterator[Problem]:
    """Dynamic resource allocation of EFA needs Kubernetes 1.34 (EKS User Guide, "Manage EFA devices")."""
    eks = subject.settings.eks
    if eks is None or eks.software.devices.efa != "dra" or eks.kubernetes_version not in KUBERNETES_VERSIONS:
        return
    if KUBERNETES_VERSIONS.index(eks.kubernetes_version) < KUBERNETES_VERSIONS.index(DRA_FROM):
        yield Problem(
            f"{_SOFTWARE}.devices.efa",
            "dra",
            f"the EFA driver of dynamic resource allocation needs Kubernetes {DRA_FROM}, and this cluster has "
            f"'{shown(eks.kubernetes_version)}'",
            "take a newer 'eks.kubernetes_version', or 'device-plugin'",
        )


@error("eks-dra-manifests", depends_on=("eks.pools", "pools"))
def _dra_manifests(subject: Subject) -> Iterator[Problem]:
    """Our manifests ask for EFA interfaces as the device plugin counts them; with DRA nothing does."""
    software = _software(subject)
    if software is None or software.devices.efa != "dra":
        return
    for shipped in _on_eks(subject):
        known = facts(shipped.pool.instance_type) if shipped.pool else None
        if known and known.is_accelerated and known.efa_interfaces:
            yield Problem(
                shipped.cluster_path,
                shipped.cluster,
                f"'{shown(shipped.entry.label)}' would ask pool '{shown(shipped.entry.pool)}' for EFA "
                "interfaces that no device plugin offers",
                f"set '{_SOFTWARE}.devices.efa: device-plugin', or ship it elsewhere",
            )


@error("eks-isolated-network", depends_on=("network.isolated", "eks.pools", "pools"))
def _isolated(subject: Subject) -> Iterator[Problem]:
    """Charts and images of operators come from public repositories, which an isolated network cannot reach."""
    software, network = _software(subject), subject.settings.network
    if software is None or not network.isolated or network.existing:
        return
    known, devices = list(_facts(subject)), software.devices
    fetched = {
        "devices.gpu": devices.gpu != "none" and any(one.has_gpus for one in known),
        "devices.neuron": devices.neuron != "none" and any(one.has_neuron for one in known),
        "devices.efa": devices.efa != "none" and any(one.supports_efa for one in known),
        "jobs": bool(software.jobs),
        "queues": bool(software.queues),
    }
    names = [name for name, there in fetched.items() if there]
    if names:
        yield Problem(
            _SOFTWARE,
            ", ".join(names),
            f"{listed(names, 'and')} come from public repositories, which an isolated network cannot reach",
            "set devices to 'none' and 'jobs: []', and install them from a registry of yours; or open the network",
        )


def _on_eks(subject: Subject) -> Iterator[ShippedWorkload]:
    return (shipped for shipped in shipped_workloads(subject.settings) if shipped.cluster == EKS.name)


@error("eks-job-operator")
def _job_operator(subject: Subject) -> Iterator[Problem]:
    """A job is an object of its operator's kind, and nothing takes it where the operator is not."""
    software = _software(subject)
    for shipped in _on_eks(subject) if software else ():
        format_ = resolve(shipped.entry.request(EKS.name, None)).format
        operator = _OPERATORS.get(format_) if format_ else None
        if software and operator and operator not in software.jobs:
            yield Problem(
                shipped.cluster_path,
                shipped.cluster,
                f"'{shown(shipped.entry.label)}' is a job of the format '{format_}', and the cluster has not its "
                f"operator, '{operator}'",
                f"add it to '{_SOFTWARE}.jobs'",
            )


@warning("eks-queue-stages", depends_on=("eks.pools", "pools", "workloads"))
def _queue_stages(subject: Subject) -> Iterator[Problem]:
    """Kueue admits a JobSet as a whole: a run and its stages together, although the run waits for them."""
    software = _software(subject)
    queues = software.queues if software else {}
    for shipped in _on_eks(subject) if queues else ():
        if shipped.pool is None:
            continue
        resolution = resolve(shipped.entry.request(EKS.name, shipped.pool, shipped.prepare_on))
        run = resolution.run
        if run is None or not resolution.stages or resolution.format not in TOGETHER:
            continue
        needed: Counter[str] = Counter()
        for one in (run, *resolution.stages.values()):
            needed[one.pool.name] += one.nodes
        if not any(
            all(_share(queues, queue, pool) >= count for pool, count in needed.items())
            for queue in queues.values()
        ):
            counts = listed([f"{count} of pool '{shown(pool)}'" for pool, count in needed.items()], "and")
            yield Problem(
                shipped.cluster_path,
                shipped.cluster,
                f"'{shown(shipped.entry.label)}' needs the nodes of its stages and its own at once, {counts}, and no "
                "queue has as many: it would wait for ever",
                "give 'prepare_on' a pool for the stages, or launch them by themselves first: --stage NAME, then "
                "--skip-stages",
            )


def _share(queues: Mapping[str, Queue], queue: Queue, pool: str) -> int:
    """Return the most nodes of a pool that a queue can have: its own, and what others lend that borrow too."""
    if not queue.borrow:
        return queue.nodes.get(pool, 0)
    return sum(one.nodes.get(pool, 0) for one in queues.values() if one.borrow)


@error("workload-apply")
def _apply(subject: Subject) -> Iterator[Problem]:
    """Only a stack of an EKS cluster starts jobs; elsewhere people submit them."""
    for index, entry in enumerate(subject.settings.workloads):
        if entry.apply and not any(cluster in KUBERNETES for cluster in entry.clusters):
            yield Problem(
                f"workloads.{index}.apply",
                True,
                f"none of the clusters of '{shown(entry.label)}' is started by its stack",
                f"stacks start jobs on {listed(KUBERNETES)}; elsewhere 'trainforge launch' does",
            )
