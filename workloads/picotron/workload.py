"""The workload picotron: 4D-parallel pre-training of SmolLM by Hugging Face's Picotron."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from catalog import hub_commits
from catalog.reference_types import CPU, GPU
from workloads.accepted import TORCHRUN_FORMATS, accepted
from workloads.asset import Asset
from workloads.images.image import Image
from workloads.launchers import Torchrun
from workloads.layout import Layout
from workloads.picotron.memory import footprint
from workloads.picotron.picotron_launch.sizes import SIZES
from workloads.preset import Preset
from workloads.program import Program
from workloads.progress import PrintedBy, Progress, number
from workloads.proof import TINY_RANKS
from workloads.resources import Resources
from workloads.secret import Secret
from workloads.shared_options import SharedOptions
from workloads.size_arguments import SizeArguments
from workloads.spec import Format, Workload
from workloads.stage import Stage
from workloads.transformer import Splits
from workloads.words import option_values

_NUMBER = "[0-9][0-9.]*[KMBT]?"


def _preset(
    name: str, description: str, *more: str, nodes: int, batch: int, layout: Layout, sequence: int = 1024
) -> Preset:
    """Return a preset on GPUs with synthetic texts."""
    return Preset(
        name=name,
        description=description,
        arguments=(
            *more,
            *(f"--tensor-parallel={layout.tp}", f"--pipeline-parallel={layout.pp}"),
            *(f"--context-parallel={layout.cp}", f"--micro-batch={layout.micro_batch}"),
            *(f"--sequence-length={sequence}", f"--global-batch={batch}"),
            *("--steps=1000", "--checkpoint-every=200"),
        ),
        instance_type=GPU,
        nodes=nodes,
        global_batch=batch,
        tokens_per_sample=sequence,
        precision="bf16",
        # torch does; flash_attn, which would not, is not in the image.
        emulated=True,
        layout=layout,
    )


_PRESETS = (
    _preset(
        "smollm-1-7b",
        "SmolLM 1.7B: data, tensor and pipeline parallel",
        "--model=smollm-1-7b",
        nodes=2,
        batch=256,
        layout=Layout(tp=2, pp=2, micro_batch=4),
    ),
    _preset(
        "smollm-1-7b-4d",
        "SmolLM 1.7B with sequences of 8192 tokens: all four kinds of parallelism",
        "--model=smollm-1-7b",
        nodes=2,
        batch=64,
        sequence=8192,
        layout=Layout(tp=2, pp=2, cp=2),
    ),
    _preset(
        "smollm-1-7b-5-layers",
        "the first five layers of SmolLM 1.7B, as the predecessor's example has them",
        "--model=smollm-1-7b",
        "--layers=5",
        nodes=1,
        batch=64,
        layout=Layout(tp=2, pp=2, micro_batch=4),
    ),
    _preset(
        "smollm-360m",
        "SmolLM 360M, data parallel and a pipeline",
        "--model=smollm-360m",
        nodes=1,
        batch=128,
        layout=Layout(pp=2, micro_batch=8),
    ),
    _preset(
        "smollm-135m",
        "SmolLM 135M, data parallel",
        "--model=smollm-135m",
        nodes=1,
        batch=256,
        layout=Layout(micro_batch=16),
    ),
)

_STORIES = replace(
    _PRESETS[0],
    name="smollm-1-7b-tinystories",
    description="SmolLM 1.7B on TinyStories, which the stage 'download' fetches with the model's tokenizer",
    arguments=(*_PRESETS[0].arguments, "--data=tinystories"),
    stages=MappingProxyType({"download": ("--model=smollm-1-7b",)}),
)

_TINY = Preset(
    name="tiny",
    description="two layers on two ranks without a GPU, given a checkout of Picotron: 12 steps, a checkpoint every 4",
    arguments=(
        *("--model=tiny", "--sequence-length=64", "--micro-batch=2", "--global-batch=8", "--steps=12"),
        *("--learning-rate=3e-3", "--checkpoint-every=4"),
    ),
    instance_type=CPU,
    nodes=2,
    global_batch=8,
    tokens_per_sample=64,
    accelerators=("gpu", "cpu"),
    precision="bf16",
    emulated=True,
    layout=Layout(micro_batch=2),
)


def _splits(arguments: Sequence[str]) -> Splits | None:
    """Return the parallel sizes of the model: of whole heads, and a layer at least in each stage.

    `picotron_launch.options` refuses others.
    """
    words = option_values(arguments)
    size = SIZES.get(words.get("model", "smollm-1-7b"))
    layers = words.get("layers", "")
    if size is None or (layers and not (layers.isascii() and layers.isdecimal() and int(layers))):
        return None
    return Splits(
        tensors={"attention heads": size.heads, "key-value heads": size.key_value_heads},
        stages=int(layers or size.layers),
    )


_DOWNLOAD = Stage(
    name="download",
    title="fetches a SmolLM model and TinyStories from the Hugging Face hub",
    program=Program(path="download.py"),
    presets=(_STORIES.name,),
    arguments=(f"--texts-revision={hub_commits.TINY_STORIES}",),
    options="download",
    shares=SharedOptions(same=("--model",)),
)

WORKLOAD = Workload(
    name="picotron",
    title="4D-parallel pre-training of SmolLM by Picotron (data, tensor, pipeline and context parallel)",
    launcher=Torchrun(),
    image=Image("cuda"),
    resources=Resources(accelerators=("gpu",), memory_gib_per_rank=16),
    presets=MappingProxyType({preset.name: preset for preset in (*_PRESETS, _STORIES, _TINY)}),
    proofs=MappingProxyType(
        {
            **accepted(*TORCHRUN_FORMATS, Format.JOBSET),
            Format.LOCAL: TINY_RANKS.with_placeholder("Picotron"),
        }
    ),
    progress=Progress(
        pattern=(
            rf"Step: (?P<step>[0-9]+) +\| Loss: +(?P<loss>{number('[0-9][0-9.]*')}) \| Global batch size: .*"
            rf"\| Tokens/s: +(?P<tokens_per_second>{_NUMBER}) "
            rf"\| Tokens/s/GPU: +(?P<tokens_per_second_per_rank>{_NUMBER}) \|.* MFU: +(?P<mfu_percent>[0-9.]+)%"
        ),
        # Rank 0 tokenizes the texts first, and the other ranks wait for it.
        start_seconds=1800,
        stall_seconds=900,
        # The last stage of the first copy of the model prints; where it is on another node, rank 0 repeats its lines.
        printed_by=PrintedBy.RANK_0,
    ),
    secrets=(Secret("huggingface", "HF_TOKEN"),),
    assets=(
        Asset("smollm", "smollm", "SMOLLM_FOLDER", stage="download", required=True, licence="Apache 2.0"),
    ),
    # Picotron has no test of it: it was run by hand.
    resumes_by="huggingface/picotron at the commit of picotron.txt, by hand on 2026-11-28: README.md, 'What to expect'",
    footprint=footprint,
    splits=_splits,
    size_arguments=SizeArguments(
        tp="--tensor-parallel",
        pp="--pipeline-parallel",
        cp="--context-parallel",
        micro_batch="--micro-batch",
        sequence=("--sequence-length",),
    ),
    global_batch_argument="--global-batch",
    options="picotron_launch.options",
    stages=(_DOWNLOAD,),
)
