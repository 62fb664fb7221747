"""The workload ray-train: pre-training of causal language models (FSDP2), its ranks started by Ray Train."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from workloads.fsdp.memory import footprint
from workloads.fsdp.workload import WORKLOAD as FSDP
from workloads.images.image import Image
from workloads.launchers import Ray
from workloads.progress import Progress
from workloads.proof import TINY_RANKS, TINY_SLURM, Proof, Proven
from workloads.resources import Resources
from workloads.spec import Format, Workload

_NAMES = (
    *("llama3-1-8b", "llama3-1-70b", "llama3-2-1b", "llama3-2-3b", "llama2-7b", "mixtral-8x7b"),
    *("llama3-1-8b-c4", "tiny"),
)

_PRESETS = tuple(
    # Ray takes what it sees on a node: a preset that may run on either would ask for GPUs where there are some.
    replace(FSDP.presets[name], accelerators=("cpu",) if name == "tiny" else None)
    for name in _NAMES
)

WORKLOAD = Workload(
    name="ray-train",
    title="Pre-training of causal language models, sharded over all ranks (PyTorch FSDP2), with Ray Train",
    launcher=Ray(),
    image=Image("cuda"),
    resources=Resources(accelerators=("gpu",), memory_gib_per_rank=16),
    presets=MappingProxyType({preset.name: preset for preset in _PRESETS}),
    proofs=MappingProxyType(
        {
            Format.SLURM: TINY_SLURM,
            Format.RAYJOB: Proven(
                Proof.CONTROLLERS,
                preset="tiny",
                hardware="a head and 2 workers on 2 process nodes on two cores, no GPU",
            ),
            Format.LOCAL: TINY_RANKS,
        }
    ),
    progress=Progress(
        # As the workload fsdp prints it; Ray puts the rank's process before it.
        pattern=FSDP.progress.pattern,
        # The first steps fill caches, compile where it was asked for, and open a streamed data set.
        start_seconds=1200,
        stall_seconds=900,
    ),
    environment=FSDP.environment,
    secrets=FSDP.secrets,
    peak_precision="bf16",
    peak_argument="--peak-tflops",
    footprint=footprint,
    size_arguments=FSDP.size_arguments,
    global_batch_argument="--global-batch",
    options="ray_trainer.options",
    packages=("fsdp/fsdp_trainer",),
)
