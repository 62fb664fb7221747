"""Rules on the containers that shipped workloads have besides their programs: that clusters start and end them."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.cluster_kinds import HYPERPOD_EKS
from catalog.hyperpod_eks import KUBERNETES_VERSIONS
from catalog.kubernetes import SIDECARS_FROM
from settings.parser.values import shown
from settings.rules.rule import Problem, Subject, error
from settings.rules.selection import ShippedWorkload, facts, shipped_workloads
from workloads.containers import Container
from workloads.request import resolve


def _containers(subject: Subject) -> Iterator[tuple[ShippedWorkload, Container]]:
    """Yield the containers of each shipped workload that is known, on each of its clusters."""
    for shipped in shipped_workloads(subject.settings):
        pool = shipped.pool if shipped.pool and facts(shipped.pool.instance_type) else None
        run = resolve(shipped.entry.request(shipped.cluster, pool)).run
        for container in run.workload.containers if run else ():
            yield shipped, container


@error("workload-container-sidecar", depends_on=("hyperpod_eks",))
def _sidecar(subject: Subject) -> Iterator[Problem]:
    """An older Kubernetes waits for the end of a container beside the program before it starts the program."""
    section = subject.settings.hyperpod_eks
    if section is None or section.kubernetes_version not in KUBERNETES_VERSIONS:
        return
    if KUBERNETES_VERSIONS.index(section.kubernetes_version) >= KUBERNETES_VERSIONS.index(SIDECARS_FROM):
        return
    for shipped, container in _containers(subject):
        if shipped.cluster == HYPERPOD_EKS.name and container.when == "beside":
            yield Problem(
                shipped.cluster_path,
                shipped.cluster,
                f"the container '{container.name}' of '{shown(shipped.entry.label)}' runs beside the program, which "
                f"Kubernetes '{section.kubernetes_version}' does not start then",
                f"set 'hyperpod_eks.kubernetes_version' to '{SIDECARS_FROM}' or newer",
            )


@error("workload-container-internet", too_strict=True, depends_on=("network",))
def _internet(subject: Subject) -> Iterator[Problem]:
    """Nodes of an isolated network pull images from ECR alone.

    Too strict where they reach a registry of one's own.
    """
    if not subject.settings.network.isolated:
        return
    for shipped, container in _containers(subject):
        if container.image and ".dkr.ecr." not in container.image.partition("/")[0]:
            yield Problem(
                shipped.cluster_path,
                shipped.cluster,
                f"the network is isolated, and nodes cannot pull '{container.image}', the image of the container "
                f"'{container.name}' of '{shown(shipped.entry.label)}'",
                "copy it to a repository of ECR, and name that in the workload",
            )
