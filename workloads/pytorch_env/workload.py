"""The workload pytorch-env: the software and devices that every rank sees, compared with the catalog and each other."""

from __future__ import annotations

from types import MappingProxyType

from catalog.reference_types import CPU, GPU
from workloads.launchers import Torchrun
from workloads.preset import Preset
from workloads.program import Program
from workloads.progress import Criterion, Progress
from workloads.proof import Proof, Proven
from workloads.resources import ALL_KINDS, Resources
from workloads.spec import Format, Workload

_PRESETS = (
    Preset("standard", "every rank's environment, on every kind of node", instance_type=GPU, nodes=2),
    Preset("tiny", "the same without accelerators", instance_type=CPU, nodes=2, accelerators=("cpu",)),
)

WORKLOAD = Workload(
    name="pytorch-env",
    title="Environment of every rank: torch, CUDA, NCCL, its OFI plugin, EFA, Neuron, devices",
    launcher=Torchrun(),
    program=Program(path="report_environment.py"),
    resources=Resources(accelerators=ALL_KINDS, memory_gib_per_rank=2),
    presets=MappingProxyType({preset.name: preset for preset in _PRESETS}),
    # The launch guard would end the run before the report says what is missing; nothing trains, so no fabric is chosen.
    environment=MappingProxyType({"TRAINFORGE_GUARD_SKIP": "accelerators,efa,plugin,fabric"}),
    proofs=MappingProxyType(
        {
            Format.SLURM: Proven(Proof.ACCEPTED, "shellcheck"),
            Format.PYTORCHJOB: Proven(Proof.ACCEPTED, "kubeflow-training"),
            Format.TRAINJOB: Proven(Proof.ACCEPTED, "kubeflow-trainer-api"),
            Format.HYPERPODPYTORCHJOB: Proven(Proof.SCHEMA),
            Format.BATCH: Proven(Proof.ACCEPTED, "botocore and moto"),
            Format.LOCAL: Proven(Proof.EXECUTED, preset="tiny", hardware="2 ranks on one machine, no GPU"),
        }
    ),
    progress=Progress(
        pattern=r"^verdict over (?P<ranks>[0-9]+) ranks: (?P<failed_checks>[0-9]+) failed$",
        start_seconds=900,
        criteria=(Criterion("failed_checks", at_most=0),),
        metrics=MappingProxyType({"ranks": "ranks", "failed_checks": "checks that failed"}),
    ),
    resumes=False,
    options="pytorch_env_options",
)
