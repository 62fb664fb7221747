"""The workload fsdp: pre-training of causal language models, sharded over all ranks with PyTorch's FSDP2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType

from catalog import hub_commits
from catalog.reference_types import CPU, GPU
from workloads.fsdp.memory import footprint
from workloads.images.image import Image
from workloads.launchers import Torchrun
from workloads.preset import Preset
from workloads.profile import BY_CAPTURE
from workloads.progress import PrintedBy, Progress, number
from workloads.proof import TINY_PODS, TINY_RANKS, TINY_SLURM, Proof, Proven
from workloads.resources import Resources
from workloads.secret import Secret
from workloads.size_arguments import SizeArguments
from workloads.spec import Format, Workload

# Synthetic sequences are one after the other without borders: the fastest attention kernels take no mask.
_SPEED = ("--steps=1000", "--warmup-steps=100", "--checkpoint-every=200", "--no-document-mask")

_LLAMA3_1_8B = Preset(
    name="llama3-1-8b",
    description="Llama 3.1 8B, sequences of 8192 tokens, a million tokens a step",
    arguments=(
        *("--model=llama3-1-8b", "--sequence-length=8192", "--global-batch=128", "--recompute=selective"),
        *_SPEED,
    ),
    instance_type=GPU,
    nodes=4,
    global_batch=128,
    tokens_per_sample=8192,
    precision="bf16",
    emulated=True,
)


def _dense(name: str, title: str, sequence: int, batch: int, recompute: str, nodes: int) -> Preset:
    """Return the preset of another model: what differs from the reference."""
    return replace(
        _LLAMA3_1_8B,
        name=name,
        description=f"{title}, sequences of {sequence} tokens, {batch} of them a step",
        arguments=(
            *(f"--model={name}", f"--sequence-length={sequence}", f"--global-batch={batch}"),
            f"--recompute={recompute}",
            *_SPEED,
        ),
        nodes=nodes,
        global_batch=batch,
        tokens_per_sample=sequence,
    )


_SIZES = (
    _LLAMA3_1_8B,
    _dense("llama3-1-70b", "Llama 3.1 70B", 8192, 256, "full", 16),
    _dense("llama3-2-1b", "Llama 3.2 1B", 8192, 128, "none", 1),
    _dense("llama3-2-3b", "Llama 3.2 3B", 8192, 128, "selective", 2),
    _dense("llama2-7b", "Llama 2 7B", 4096, 256, "selective", 4),
    _dense("llama2-13b", "Llama 2 13B", 4096, 256, "selective", 4),
    _dense("llama2-70b", "Llama 2 70B", 4096, 512, "full", 16),
    _dense("mathstral-7b", "Mathstral 7B", 8192, 128, "selective", 4),
    _dense("mixtral-8x7b", "Mixtral 8x7B, two of eight experts a token", 4096, 256, "full", 8),
)

_TOKENIZERS = MappingProxyType(
    {
        "llama2": hub_commits.at(hub_commits.LLAMA_2_7B),
        "llama3": "meta-llama/Llama-3.1-8B",
        "mathstral": "mistralai/Mathstral-7B-v0.1",
        "mixtral": "mistralai/Mixtral-8x7B-v0.1",
    }
)
"""Tokenizers by the first word of a model's name. All are gated: their makers want a licence accepted first."""


def _on_c4(preset: Preset) -> Preset:
    """Return a preset that reads c4 (allenai/c4, en) as it trains, each document by itself, and validates."""
    kept = [word for word in preset.arguments if word != "--no-document-mask"]
    tokenizer = _TOKENIZERS[preset.name.partition("-")[0]]
    more = (
        *("--data=stream", f"--dataset={hub_commits.at(hub_commits.C4)}:en", f"--tokenizer={tokenizer}"),
        "--validate-every=200",
    )
    return replace(
        preset,
        name=f"{preset.name}-c4",
        description=f"{preset.description}, on c4 from the Hugging Face hub",
        arguments=(*kept, *more),
    )


_TINY = Preset(
    name="tiny",
    description="the same program in seconds on two cores: 60 steps, a report each, a checkpoint every 10",
    arguments=(
        *("--model=tiny", "--sequence-length=64", "--global-batch=8", "--micro-batch=2", "--precision=fp32"),
        *("--steps=60", "--warmup-steps=10", "--checkpoint-every=10", "--log-every=1"),
    ),
    instance_type=CPU,
    nodes=2,
    global_batch=8,
    tokens_per_sample=64,
    accelerators=("gpu", "cpu"),
    precision="fp32",
)


def _presets() -> Iterator[Preset]:
    yield from _SIZES
    yield from (_on_c4(preset) for preset in _SIZES)
    yield _TINY


WORKLOAD = Workload(
    name="fsdp",
    title="Pre-training of causal language models, sharded over all ranks (PyTorch FSDP2)",
    launcher=Torchrun(),
    image=Image("cuda"),
    resources=Resources(accelerators=("gpu",), memory_gib_per_rank=16),
    presets=MappingProxyType({preset.name: preset for preset in _presets()}),
    proofs=MappingProxyType(
        {
            Format.SLURM: TINY_SLURM,
            Format.PYTORCHJOB: TINY_PODS,
            Format.TRAINJOB: TINY_PODS,
            Format.HYPERPODPYTORCHJOB: Proven(Proof.SCHEMA),
            Format.BATCH: Proven(
                Proof.SIMULATED, preset="tiny", hardware="2 nodes as processes on one machine, no GPU"
            ),
            Format.LOCAL: TINY_RANKS,
        }
    ),
    progress=Progress(
        pattern=(
            rf"step=(?P<step>[0-9]+) loss=(?P<loss>{number()}) "
            r"samples_per_second=(?P<samples_per_second>[0-9][0-9.e+-]*)"
        ),
        # The first steps fill caches, compile where it was asked for, and open a streamed data set.
        start_seconds=1200,
        stall_seconds=900,
        printed_by=PrintedBy.EVERY_NODE,
    ),
    environment=MappingProxyType(
        {
            # Segments that grow fragment less under sequences of one length and gathered parameters of many.
            "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        }
    ),
    secrets=(Secret("huggingface", "HF_TOKEN"),),
    peak_precision="bf16",
    peak_argument="--peak-tflops",
    footprint=footprint,
    size_arguments=SizeArguments(
        sequence=("--sequence-length",),
        precision=MappingProxyType({"--float8": {"*": "fp8"}, "--precision": {"fp32": "fp32"}}),
        default_precision="bf16",
    ),
    global_batch_argument="--global-batch",
    options="fsdp_trainer.options",
    profilers=BY_CAPTURE,
)
