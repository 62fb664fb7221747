"""The workload cpu-ddp: data-parallel training over gloo, for clusters without accelerators."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from catalog.reference_types import CPU
from workloads.asset import Asset
from workloads.images.image import Image
from workloads.launchers import Torchrun
from workloads.preset import Preset
from workloads.profile import BY_CAPTURE
from workloads.program import Program
from workloads.progress import PrintedBy, Progress, number
from workloads.proof import TINY_PODS, TINY_RANKS, TINY_SLURM, Proof, Proven
from workloads.resources import Resources
from workloads.spec import Format, Workload
from workloads.stage import Stage

_REFERENCE = Preset(
    name="reference",
    description="perceptron of 0.7 million weights, 2000 steps of 256 samples",
    arguments=("--steps=2000", "--global-batch=256", "--hidden=512", "--checkpoint-every=200", "--threads=8"),
    instance_type=CPU,
    nodes=2,
    global_batch=256,
)

_TINY = Preset(
    name="tiny",
    description="the same program in seconds on two cores: 60 steps, a report each, a checkpoint every 10",
    arguments=("--steps=60", "--global-batch=32", "--hidden=32", "--checkpoint-every=10", "--log-every=1"),
    instance_type=CPU,
    nodes=2,
    global_batch=32,
)

_MNIST = replace(
    _REFERENCE,
    name="mnist",
    description="the reference on MNIST, which the stage 'download' fetches",
    arguments=(*_REFERENCE.arguments, "--data=mnist"),
)

_DOWNLOAD = Stage(
    name="download",
    title="fetches MNIST's training files",
    program=Program(path="download.py"),
    presets=("mnist",),
    options="download",
)

WORKLOAD = Workload(
    name="cpu-ddp",
    title="Data-parallel training of a small perceptron on processors (DistributedDataParallel, gloo)",
    launcher=Torchrun(),
    image=Image("cpu"),
    resources=Resources(accelerators=("cpu",), ranks_per_node=1, memory_gib_per_rank=2),
    presets=MappingProxyType({preset.name: preset for preset in (_REFERENCE, _TINY, _MNIST)}),
    proofs=MappingProxyType(
        {
            Format.SLURM: TINY_SLURM,
            Format.PYTORCHJOB: TINY_PODS,
            Format.TRAINJOB: TINY_PODS,
            Format.HYPERPODPYTORCHJOB: Proven(Proof.SCHEMA),
            Format.JOBSET: Proven(
                Proof.CONTROLLERS,
                preset="mnist",
                hardware="60 steps, 2 process nodes on two cores, no GPU",
            ),
            Format.BATCH: Proven(
                Proof.SIMULATED, preset="tiny", hardware="1 and 2 nodes as processes on one machine, no GPU"
            ),
            Format.LOCAL: TINY_RANKS,
        }
    ),
    progress=Progress(
        pattern=(
            rf"step=(?P<step>[0-9]+) loss=(?P<loss>{number()}) "
            r"samples_per_second=(?P<samples_per_second>[0-9][0-9.e+-]*)"
        ),
        start_seconds=300,
        stall_seconds=300,
        printed_by=PrintedBy.EVERY_NODE,
    ),
    assets=(Asset("mnist", "mnist", "DATA_FOLDER", stage="download", required=True),),
    global_batch_argument="--global-batch",
    options="cpu_ddp_options",
    profilers=BY_CAPTURE,
    stages=(_DOWNLOAD,),
)
