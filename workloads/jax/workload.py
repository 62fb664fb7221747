"""The workload jax: pre-training of a causal language model in JAX (Flax NNX), with data and model parallelism."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from catalog import hub_commits
from catalog.reference_types import CPU, GPU
from catalog.versions import AWS_OFI_NCCL, EFA_INSTALLER, JAX_IMAGE, LIBFABRIC
from workloads.accepted import accepted
from workloads.asset import Asset
from workloads.images.image import Image
from workloads.jax.jax_trainer.models import MODELS
from workloads.jax.memory import footprint
from workloads.launchers import Jax
from workloads.layout import Layout
from workloads.preset import Preset
from workloads.program import Program
from workloads.progress import PrintedBy, Progress, number
from workloads.proof import TINY_PODS, TINY_SLURM, Proof, Proven
from workloads.resources import Resources
from workloads.secret import Secret
from workloads.size_arguments import SizeArguments
from workloads.spec import Format, Workload
from workloads.stage import Stage
from workloads.transformer import Splits
from workloads.words import option_values


def _preset(
    name: str, description: str, model: str, *more: str, batch: int, sequence: int, layout: Layout
) -> Preset:
    """Return a preset on four nodes of GPUs."""
    return Preset(
        name=name,
        description=description,
        arguments=(
            *(f"--model={model}", f"--sequence-length={sequence}", f"--global-batch={batch}"),
            *(f"--model-parallel={layout.tp}", "--steps=1000", "--warmup-steps=100"),
            *("--checkpoint-every=200", "--device=cuda"),
            *more,
        ),
        instance_type=GPU,
        nodes=4,
        global_batch=batch,
        tokens_per_sample=sequence,
        # On GPUs bf16 takes cuDNN's attention, which needs Ampere (cuDNN documentation, "Attention").
        precision="bf16",
        layout=layout,
    )


_ON_GPUS = (
    # The predecessor's: 32 sequences of 1024 tokens on each GPU, all devices on the axis data.
    _preset("2b", "2.1B parameters, data parallel", "2b", batch=1024, sequence=1024, layout=Layout()),
    _preset(
        "7b",
        "6.6B parameters, data parallel and each copy on two GPUs",
        "7b",
        batch=256,
        sequence=2048,
        layout=Layout(tp=2),
    ),
)

_ON_C4 = tuple(
    replace(
        preset,
        name=f"{preset.name}-c4",
        description=f"{preset.description}, on c4",
        arguments=(*preset.arguments, "--data=tokens"),
    )
    for preset in _ON_GPUS
)

_PRESETS = (
    *_ON_GPUS,
    *_ON_C4,
    Preset(
        name="tiny",
        description="the same program in seconds on two cores: 20 steps, a checkpoint every 5",
        arguments=(
            *("--model=tiny", "--sequence-length=64", "--global-batch=8", "--steps=20", "--warmup-steps=2"),
            *("--precision=fp32", "--log-every=1", "--checkpoint-every=5"),
        ),
        instance_type=CPU,
        nodes=2,
        global_batch=8,
        tokens_per_sample=64,
        accelerators=("gpu", "cpu"),
        precision="fp32",
        layout=Layout(),
    ),
)


def _splits(arguments: Sequence[str]) -> Splits | None:
    """Return the sizes of the axis model, whose devices have whole heads (`jax_trainer.options` refuses others)."""
    model = MODELS.get(option_values(arguments).get("model", ""))
    return None if model is None else Splits(tensors={"attention heads": model.heads})


_TOKENIZE = Stage(
    name="tokenize",
    title="fetches files of c4 and writes their tokens, with Llama 2's tokenizer",
    program=Program(path="preprocess.py"),
    resources=Resources(("cpu",), memory_gib_per_rank=16),
    presets=tuple(preset.name for preset in _ON_C4),
    arguments=(f"--revision={hub_commits.C4}", f"--tokenizer={hub_commits.at(hub_commits.LLAMA_2_7B)}"),
    options="preprocess",
)

_FORMATS = (Format.SLURM, Format.PYTORCHJOB, Format.TRAINJOB, Format.JOBSET, Format.BATCH)

WORKLOAD = Workload(
    name="jax",
    title="Pre-training of a causal language model in JAX (Flax NNX) on a mesh of data and model parallelism",
    launcher=Jax(per_accelerator=True),
    image=Image(
        reference=JAX_IMAGE,
        pins=MappingProxyType(
            {"EFA_INSTALLER": EFA_INSTALLER, "LIBFABRIC": LIBFABRIC, "AWS_OFI_NCCL": AWS_OFI_NCCL}
        ),
    ),
    resources=Resources(accelerators=("gpu",), memory_gib_per_rank=32),
    presets=MappingProxyType({preset.name: preset for preset in _PRESETS}),
    proofs=MappingProxyType(
        {
            **accepted(*_FORMATS),
            Format.SLURM: TINY_SLURM,
            Format.TRAINJOB: TINY_PODS,
            Format.LOCAL: Proven(
                Proof.EXECUTED, preset="tiny", hardware="2 processes on one machine, no GPU"
            ),
        }
    ),
    progress=Progress(
        # The program ends, before its line, at a loss that is not finite.
        pattern=(
            rf"step=(?P<step>[0-9]+) loss=(?P<loss>{number()}) "
            r"samples_per_second=(?P<samples_per_second>[0-9][0-9.e+-]*) "
            r"tokens_per_second=(?P<tokens_per_second>[0-9][0-9.e+-]*) tflops=(?P<tflops>[0-9][0-9.e+-]*) "
            rf"gradient_norm=(?P<gradient_norm>{number()})"
        ),
        # XLA compiles the step before the first line.
        start_seconds=1800,
        stall_seconds=900,
        printed_by=PrintedBy.EVERY_NODE,
    ),
    environment=MappingProxyType(
        {
            # NVIDIA's JAX images have it (JAX Toolbox, "Environment Variables", read 2026-11-28).
            "XLA_FLAGS": "--xla_gpu_enable_latency_hiding_scheduler=true",
            # "We typically set it to 0.9 or 0.8" (JAX Toolbox, "Tips for High-Performance LLMs with JAX and XLA").
            "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9",
        }
    ),
    secrets=(Secret("huggingface", "HF_TOKEN"),),
    stages=(_TOKENIZE,),
    assets=(
        Asset(
            "c4",
            "c4-llama2",
            "TOKENS_FOLDER",
            stage="tokenize",
            required=True,
            licence="C4: ODC-BY; its tokenizer: Llama 2 Community License",
        ),
    ),
    peak_precision="bf16",
    footprint=footprint,
    splits=_splits,
    size_arguments=SizeArguments(
        tp="--model-parallel",
        sequence=("--sequence-length",),
        precision=MappingProxyType({"--precision": {"fp32": "fp32"}}),
        default_precision="bf16",
    ),
    global_batch_argument="--global-batch",
    options="jax_trainer.options",
)
