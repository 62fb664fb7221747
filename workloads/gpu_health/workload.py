"""The workload gpu-health: the health checks on every node of a run, with one verdict over all of them."""

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
    Preset(
        "standard",
        "links, clocks and DCGM's level 2 beside the light suite, minutes; for nodes without other jobs",
        arguments=("--suite", "standard"),
        instance_type=GPU,
        nodes=2,
    ),
    Preset(
        "deep",
        "DCGM's level 3, NCCL within the node and data through each EFA domain too: up to an hour and more",
        arguments=("--suite", "deep"),
        instance_type=GPU,
        nodes=2,
    ),
    Preset(
        "light", "seconds; on nodes of every kind", arguments=("--suite", "light"), instance_type=CPU, nodes=2
    ),
)

WORKLOAD = Workload(
    name="gpu-health",
    title="Health checks of every node: GPUs, NVLink, EFA, DCGM, Neuron devices, disks",
    launcher=Torchrun(),
    program=Program(path="examine.py"),
    resources=Resources(accelerators=ALL_KINDS, ranks_per_node=1, memory_gib_per_rank=2),
    presets=MappingProxyType({preset.name: preset for preset in _PRESETS}),
    # The launch guard would end the run on a broken node before the checks say what is broken.
    environment=MappingProxyType({"TRAINFORGE_GUARD_SKIP": "accelerators,efa,plugin,fabric,health"}),
    proofs=MappingProxyType(
        {
            Format.SLURM: Proven(
                Proof.EXECUTED, preset="light", hardware="2 Slurm nodes on one machine, no GPU"
            ),
            Format.PYTORCHJOB: Proven(Proof.ACCEPTED, "kubeflow-training"),
            Format.TRAINJOB: Proven(Proof.ACCEPTED, "kubeflow-trainer-api"),
            Format.HYPERPODPYTORCHJOB: Proven(Proof.SCHEMA),
            Format.BATCH: Proven(Proof.ACCEPTED, "botocore and moto"),
            Format.LOCAL: Proven(
                Proof.EXECUTED,
                preset="light",
                hardware="2 ranks on one machine with a made-up node's answers",
            ),
        }
    ),
    progress=Progress(
        pattern=r"^verdict over (?P<nodes>[0-9]+) nodes: .*; (?P<unusable_nodes>[0-9]+) not usable$",
        # The deep suite with DCGM's level 4.
        start_seconds=4 * 3600,
        criteria=(Criterion("unusable_nodes", at_most=0),),
        metrics=MappingProxyType({"nodes": "nodes examined", "unusable_nodes": "nodes that may take no job"}),
    ),
    resumes=False,
    options="gpu_health_options",
)
