"""Sample workloads for the renderers' tests, and the content of a manifest that is read again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import yaml

from catalog.cluster_info import ClusterInfo
from workloads.asset import Asset
from workloads.formats import example_cluster
from workloads.images.image import Base, Image
from workloads.launchers import Launcher, Mpi, NeuronTorchrun, Ray, Srun, Torchrun
from workloads.preset import Preset
from workloads.program import Program
from workloads.progress import Progress
from workloads.proof import Proof, Proven
from workloads.render.hyperpodpytorchjob import hyperpodpytorchjob
from workloads.render.jobset import jobset
from workloads.render.mpijob import mpijob
from workloads.render.pytorchjob import pytorchjob
from workloads.render.rayjob import rayjob
from workloads.render.trainjob import trainjob
from workloads.resources import Accelerators, Resources
from workloads.secret import Secret
from workloads.spec import Format, Run, Workload
from workloads.stage import Stage

RENDERERS: dict[Format, Callable[..., str]] = {
    Format.PYTORCHJOB: pytorchjob,
    Format.TRAINJOB: trainjob,
    Format.HYPERPODPYTORCHJOB: hyperpodpytorchjob,
    Format.MPIJOB: mpijob,
    Format.JOBSET: jobset,
    Format.RAYJOB: rayjob,
}
TORCH_FORMATS = (Format.PYTORCHJOB, Format.TRAINJOB, Format.HYPERPODPYTORCHJOB, Format.JOBSET)


def sample(
    name: str, launcher: Launcher, accelerators: tuple[Accelerators, ...], base: Base, *formats: Format
) -> Workload:
    """Return a workload with a secret, data and a preset that is hard to quote."""
    preset = Preset("small", "a sample", ("--steps=10", "--name=it's here"), "p5.48xlarge", 4)
    return Workload(
        name=name,
        title="a sample",
        launcher=launcher,
        image=Image(base),
        resources=Resources(accelerators),
        presets=MappingProxyType({"small": preset}),
        proofs=MappingProxyType({format_: Proven(Proof.NONE) for format_ in formats}),
        progress=Progress(r"step=(?P<step>\d+) loss=", start_seconds=120, stall_seconds=300),
        environment=MappingProxyType({"SAMPLE": "a b"}),
        assets=(Asset("c4", "c4", "DATA_FOLDER"),),
        secrets=(Secret("huggingface", "HF_TOKEN"), Secret("tracker", "TRACKER_KEY", required=True)),
    )


TORCH = sample("torch-sample", Torchrun(), ("gpu", "cpu"), "cuda", *TORCH_FORMATS)
NEURON = sample("neuron-sample", NeuronTorchrun(), ("neuron",), "neuron", *TORCH_FORMATS)
SRUN = sample(
    "srun-sample", Srun(), ("gpu", "cpu"), "cuda", Format.PYTORCHJOB, Format.TRAINJOB, Format.JOBSET
)
MPI = replace(
    sample("mpi-sample", Mpi(), ("gpu", "neuron", "cpu"), "cuda", Format.MPIJOB),
    program=Program(command=("/opt/sample/run",), in_image=True),
)
RAY = sample("ray-sample", Ray(), ("gpu", "cpu"), "cuda", Format.RAYJOB)
STAGED = replace(
    sample("staged-sample", Torchrun(), ("gpu", "cpu"), "cuda", Format.JOBSET),
    stages=(
        Stage(name="download", program=Program(path="download.py")),
        Stage(name="tokenize", program=Program(module="a.tokenize"), nodes=None),
        Stage(
            name="convert",
            program=Program(path="convert.py"),
            launcher=Torchrun(),
            resources=Resources(("gpu",)),
            after=(),
        ),
    ),
)
"""A workload of stages on one node and on all, two in a row and one beside them."""

SAMPLES = (TORCH, NEURON, SRUN, MPI, RAY)


def torch_sample(format_: Format) -> Workload:
    """Return the sample of torchrun, or in a format that takes another launcher that one's."""
    return {Format.MPIJOB: MPI, Format.RAYJOB: RAY}.get(format_, TORCH)


@dataclass(frozen=True)
class Case:
    """A run in a format."""

    run: Run
    format_: Format

    def __str__(self) -> str:
        return f"{self.run.workload.name}-{self.format_}-{self.run.nodes}x{self.run.instance_type}"

    @property
    def info(self) -> ClusterInfo:
        return info(self.format_)

    @property
    def text(self) -> str:
        return RENDERERS[self.format_](self.run, self.info)

    @property
    def document(self) -> dict[str, Any]:
        return read(self.text)


def info(format_: Format, **changes: Any) -> ClusterInfo:
    return replace(
        ClusterInfo.example(example_cluster(format_), [one.name for one in (*SAMPLES, STAGED)]), **changes
    )


def run(workload: Workload, instance_type: str, nodes: int = 4, *, pool: str = "") -> Run:
    return Run.on_type(workload, workload.reference, instance_type, nodes, pool)


def cases(instance_types: tuple[str, ...], nodes: tuple[int, ...] = (4,)) -> list[Case]:
    """Return every sample in each of its formats on these types where its program can run there."""
    return [
        Case(run(workload, name, count), format_)
        for workload in SAMPLES
        for name in instance_types
        for count in nodes
        if run(workload, name).kind in workload.resources.accelerators
        for format_ in workload.formats
    ]


def read(text: str) -> dict[str, Any]:
    """Return the one document of a manifest."""
    document = yaml.load(text, Loader=yaml.CSafeLoader)
    assert isinstance(document, dict)
    return document


def pods(document: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield how many pods a job has of each template, and the pod as its operator would make it."""
    spec = document["spec"]
    match document["kind"]:
        case "PyTorchJob":
            for replicas in spec["pytorchReplicaSpecs"].values():
                yield replicas["replicas"], replicas["template"]
        case "MPIJob":
            for replicas in spec["mpiReplicaSpecs"].values():
                yield replicas["replicas"], replicas["template"]
        case "HyperPodPyTorchJob":
            for replicas in spec["replicaSpecs"]:
                yield replicas["replicas"], replicas["template"]
        case "TrainJob":
            yield spec["trainer"]["numNodes"], _patched(spec)
        case "JobSet":
            for one in spec["replicatedJobs"]:
                job = one["template"]["spec"]
                yield job["parallelism"], job["template"]
        case "RayJob":
            cluster = spec["rayClusterSpec"]
            yield 1, cluster["headGroupSpec"]["template"]
            for group in cluster["workerGroupSpecs"]:
                yield group["replicas"], group["template"]
        case kind:
            raise AssertionError(f"unknown kind {kind}")


def _patched(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the pod of a TrainJob: the trainer's own section and the patch of the runtime, put together."""
    (patch,) = spec["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    template = job["template"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    trainer = spec["trainer"]
    node = {
        **container,
        "image": trainer["image"],
        "command": trainer["command"],
        "env": trainer["env"],
        "resources": trainer["resourcesPerNode"],
    }
    return {"metadata": template["metadata"], "spec": {**template["spec"], "containers": [node]}}


def only_container(template: dict[str, Any]) -> dict[str, Any]:
    (container,) = template["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def expanded(text: str, variables: dict[str, str]) -> str:
    """Return a command's word as Kubernetes hands it to the container.

    The rule is that of the API reference (Container.command): `$(NAME)` is replaced where the variable is
    known and left alone where it is not, and a doubled `$` is one.
    """

    def one(found: re.Match[str]) -> str:
        name = found["name"]
        return "$" if name is None else variables.get(name, found[0])

    return re.sub(r"\$(?:\$|\((?P<name>[^)]*)\))", one, text)


def script(template: dict[str, Any]) -> str:
    """Return the script that a pod runs, after Kubernetes' own expansion."""
    shell, option, text = only_container(template)["command"]
    assert (shell, option) == ("/bin/bash", "-c")
    return expanded(text, {"RUN_ID": "expanded", "HOSTNAME": "expanded", "PATH": "expanded"})


def nested(text: str) -> list[str]:
    """Return the scripts that a script carries in variables."""
    return [inner for _, inner in re.findall(r"<<'(END_OF_\w+)'[^\n]*\n(.*?)\n\1\n", text, re.S)]
