"""Every manifest that renderers write for Kubernetes: workload, format, instance type and kind of cluster; and shapes.

The workloads are those of this repository, and the renderers' samples, which have every launcher, data and secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from catalog.cluster_info import ClusterInfo
from catalog.instances import instance_types
from catalog.reference_types import REFERENCE_TYPES
from tests.unit.rendering import RENDERERS, SAMPLES, only_container, pods, read
from workloads import registry
from workloads.formats import FORMATS
from workloads.spec import Format, Run, Workload
from workloads.stage import TRAIN

PUBLIC = (Format.TRAINJOB, Format.PYTORCHJOB, Format.MPIJOB, Format.JOBSET, Format.RAYJOB)
"""Formats whose definition is public. That of HyperPodPyTorchJob comes with an add-on of AWS only."""

SAMPLE_TYPES = (*REFERENCE_TYPES, "g4dn.xlarge", "inf2.xlarge")
"""One type for each way that devices of a node differ: GPUs and Neuron devices with EFA and without, none."""

SHAPE_NODES = 2


@dataclass(frozen=True, eq=False)
class Case:
    """A run in a format on a kind of cluster; each is itself, for a run's mappings have no hash."""

    run: Run
    format_: Format
    cluster: str
    info: ClusterInfo

    @property
    def pods(self) -> int:
        """The number of its pods: one for each node, and the head of a RayJob."""
        return self.run.nodes + (self.format_ is Format.RAYJOB)

    def __str__(self) -> str:
        run = self.run
        return f"{self.cluster}-{run.workload.name}-{self.format_}-{run.nodes}x{run.instance_type}"

    @property
    def text(self) -> str:
        """The manifest."""
        return RENDERERS[self.format_](self.run, self.info)

    @property
    def document(self) -> dict[str, Any]:
        """The manifest as an object."""
        return read(self.text)


def _own_workloads() -> list[Workload]:
    return [registry.workload(name) for name in registry.names()]


def every_case(cluster: str, format_: Format) -> Iterator[Case]:
    """Yield every workload at its reference preset on the types of examples, and each launcher on every type.

    On other types the pods of a workload differ in numbers, and those of the first workload with its launcher have
    these numbers too.
    """
    assert format_ in FORMATS[cluster]
    own = [one for one in _own_workloads() if format_ in one.formats]
    seen: set[tuple[type, str]] = set()
    for workload in (*own, *(one for one in SAMPLES if format_ in one.formats)):
        few = own and workload in SAMPLES and "neuron" not in workload.resources.accelerators
        info = ClusterInfo.example(cluster, [workload.name])
        for name in SAMPLE_TYPES if few else instance_types():
            launched = (type(workload.launcher), name)
            if name not in SAMPLE_TYPES and launched in seen:
                continue
            run = Run.on_type(workload, workload.reference, name, workload.reference.nodes)
            idle = run.facts.is_accelerated and not run.accelerated
            if run.kind in run.runs_on and not (few and idle):
                seen.add(launched)
                yield Case(run, format_, cluster, info)


@cache
def shapes(cluster: str) -> tuple[Case, ...]:
    """Return one case for each distinct shape of a cluster's jobs, each on two nodes.

    A shape is the format, the launcher, and the names of what pods ask for, tolerate, select and are allowed. Launchers
    are alike on both kinds of cluster, so those of EKS's jobs are enough.
    """
    found: dict[tuple[object, ...], Case] = {}
    for format_ in PUBLIC:
        for case in sorted(
            every_case(cluster, format_), key=lambda case: case.run.instance_type not in SAMPLE_TYPES
        ):
            # The pods of a JobSet are those of a TrainJob, which have every shape. Those of stages come one by one.
            if format_ is Format.JOBSET and (
                case.run.instance_type not in REFERENCE_TYPES or [*case.run.dependencies] != [TRAIN]
            ):
                continue
            found.setdefault(_shape(case), replace(case, run=replace(case.run, nodes=SHAPE_NODES)))
    return tuple(found.values())


def _shape(case: Case) -> tuple[object, ...]:
    document = case.document
    *_, (_, template) = pods(document)
    spec, container = template["spec"], only_container(template)
    return (
        case.format_,
        type(case.run.workload.launcher) if case.cluster == "eks" else None,
        tuple(container["resources"]["requests"]),
        tuple(one["key"] for one in spec.get("tolerations", ())),
        tuple(spec["nodeSelector"]),
        tuple(spec.get("affinity", ())),
        str(container["securityContext"]),
    )
