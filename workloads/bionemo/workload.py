"""The workload bionemo: pre-training of the protein language model ESM-2, data-parallel, with transformers."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from catalog.reference_types import CPU, GPU
from workloads.accepted import TORCHRUN_FORMATS, accepted
from workloads.asset import Asset
from workloads.bionemo.memory import footprint
from workloads.images.image import Image
from workloads.launchers import Torchrun
from workloads.layout import Layout
from workloads.preset import Preset
from workloads.program import Program
from workloads.progress import PrintedBy, Progress, number
from workloads.proof import TINY_PODS, TINY_RANKS
from workloads.resources import Resources
from workloads.size_arguments import SizeArguments
from workloads.spec import Format, Workload
from workloads.stage import Stage

_LENGTH = 1024
_NUMBER = "[0-9][0-9.e+-]*"


def _preset(model: str, *, nodes: int, batch: int, micro_batch: int) -> Preset:
    """Return a preset on GPUs: a size of ESM-2 on synthetic sequences."""
    return Preset(
        name=f"esm2-{model}",
        description=f"ESM-2 {model.upper()}, {batch} synthetic sequences of {_LENGTH} tokens a step",
        arguments=(
            *(f"--model={model}", f"--sequence-length={_LENGTH}", f"--global-batch={batch}"),
            *(f"--micro-batch={micro_batch}", "--steps=1000", "--warmup-steps=100"),
            "--checkpoint-every=500",
        ),
        instance_type=GPU,
        nodes=nodes,
        global_batch=batch,
        tokens_per_sample=_LENGTH,
        precision="bf16",
        emulated=True,
        layout=Layout(micro_batch=micro_batch),
    )


def _on_uniref50(preset: Preset) -> Preset:
    """Return a preset on UniRef50, as many steps as BioNeMo's own program takes by default."""
    kept = [word for word in preset.arguments if not word.startswith(("--steps", "--warmup", "--checkpoint"))]
    more = ("--data=proteins", "--steps=500000", "--warmup-steps=2000", "--checkpoint-every=2500")
    return replace(
        preset,
        name=f"{preset.name}-uniref50",
        description=f"ESM-2 {preset.name.removeprefix('esm2-').upper()} on UniRef50, 500,000 steps",
        arguments=(*kept, *more),
    )


_SIZES = (
    _preset("650m", nodes=2, batch=512, micro_batch=16),
    _preset("150m", nodes=2, batch=512, micro_batch=32),
    _preset("8m", nodes=1, batch=512, micro_batch=64),
)
_UNIREF50 = (*map(_on_uniref50, _SIZES),)

_TINY = Preset(
    name="tiny",
    description="two layers in seconds on two cores: 20 steps, a report each, a checkpoint every 5",
    arguments=(
        *("--model=tiny", "--sequence-length=64", "--global-batch=16", "--micro-batch=4", "--precision=fp32"),
        *("--steps=20", "--warmup-steps=2", "--learning-rate=3e-3", "--checkpoint-every=5", "--log-every=1"),
    ),
    instance_type=CPU,
    nodes=2,
    global_batch=16,
    tokens_per_sample=64,
    accelerators=("gpu", "cpu"),
    precision="fp32",
    layout=Layout(micro_batch=4),
)

_DOWNLOAD = Stage(
    name="download",
    title="fetches UniRef50 from UniProt",
    program=Program(path="download.py"),
    presets=tuple(preset.name for preset in _UNIREF50),
    options="download",
)

WORKLOAD = Workload(
    name="bionemo",
    title="Pre-training of the protein language model ESM-2 (transformers, DistributedDataParallel)",
    launcher=Torchrun(),
    image=Image("cuda"),
    resources=Resources(accelerators=("gpu",), memory_gib_per_rank=32),
    presets=MappingProxyType({preset.name: preset for preset in (*_SIZES, *_UNIREF50, _TINY)}),
    proofs=MappingProxyType(
        {
            **accepted(*TORCHRUN_FORMATS),
            **accepted(Format.JOBSET),
            Format.TRAINJOB: TINY_PODS,
            Format.LOCAL: TINY_RANKS,
        }
    ),
    progress=Progress(
        pattern=(
            rf"step=(?P<step>[0-9]+) loss=(?P<loss>{number(_NUMBER)}) "
            rf"samples_per_second=(?P<samples_per_second>{_NUMBER}) "
            rf"tokens_per_second=(?P<tokens_per_second>{_NUMBER}) tflops=(?P<tflops>{_NUMBER}) "
            rf"learning_rate=(?P<learning_rate>{_NUMBER}) gradient_norm=(?P<gradient_norm>{number(_NUMBER)})"
        ),
        start_seconds=900,
        stall_seconds=900,
        printed_by=PrintedBy.EVERY_NODE,
    ),
    assets=(
        Asset(
            "uniref50", "uniref50", "PROTEINS_FOLDER", stage="download", required=True, licence="CC BY 4.0"
        ),
    ),
    peak_precision="bf16",
    footprint=footprint,
    size_arguments=SizeArguments(
        micro_batch="--micro-batch",
        sequence=("--sequence-length",),
        precision=MappingProxyType({"--precision": {"fp32": "fp32"}}),
        default_precision="bf16",
    ),
    global_batch_argument="--global-batch",
    options="esm2_trainer.options",
    stages=(_DOWNLOAD,),
)
