"""The workload torchtitan: pre-training of Llama 3 by PyTorch's own trainer (FSDP2, TP, PP, CP, float8, compile)."""

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
from workloads.preset import Preset
from workloads.profile import DEFAULT_RANKS, Profile, Profiler
from workloads.program import Program
from workloads.progress import PrintedBy, Progress, number
from workloads.proof import TINY_PODS, TINY_RANKS
from workloads.resources import Resources
from workloads.secret import Secret
from workloads.size_arguments import SizeArguments
from workloads.spec import Format, Workload
from workloads.stage import Stage
from workloads.torchtitan.arithmetic import footprint, splits

_SEQUENCE = 8192

_OF_FLAVOR = {
    "8B": ("--optimizer.lr=3e-4", "--activation_checkpoint.selective_ac_option=op"),
    "70B": ("--optimizer.lr=1.5e-4", "--activation_checkpoint.mode=full"),
    "405B": ("--optimizer.lr=8e-5", "--activation_checkpoint.mode=full"),
}
"""The learning rate and the recomputation of torchtitan's own configuration of each model.

Source: torchtitan/models/llama3/train_configs/llama3_8b.toml, llama3_70b.toml and llama3_405b.toml at v0.2.2. The
defaults of its options are 8e-4 and every second layer.
"""


def _preset(
    name: str,
    description: str,
    flavor: str,
    *more: str,
    nodes: int,
    batch: int,
    sequence: int = _SEQUENCE,
    layout: Layout,
) -> Preset:
    """Return a preset on GPUs: a model of torchtitan on synthetic data, and what differs from the others."""
    return Preset(
        name=name,
        description=description,
        arguments=(
            *("--model.name=llama3_synthetic", f"--model.flavor={flavor}", "--training.steps=1000"),
            *(f"--training.seq_len={sequence}", f"--training.local_batch_size={layout.micro_batch}"),
            *(f"--training.global_batch_size={batch}", *_OF_FLAVOR[flavor]),
            *("--checkpoint.interval=200", "--checkpoint.async_mode=async"),
            *more,
        ),
        instance_type=GPU,
        nodes=nodes,
        global_batch=batch,
        tokens_per_sample=sequence,
        precision="fp8" if "--model.converters=quantize.linear.float8" in more else "bf16",
        # torch emulates bf16; of float8 torchtitan ends before the first step ("only supported on SM89 or later").
        emulated=True,
        layout=layout,
    )


_FLOAT8 = (
    *("--model.converters=quantize.linear.float8", "--quantize.linear.float8.filter_fqns=output"),
    "--quantize.linear.float8.enable_fsdp_float8_all_gather",
    *("--quantize.linear.float8.precompute_float8_dynamic_scale_for_fsdp", "--compile.enable"),
)
_TP = "--parallelism.tensor_parallel_degree=8"

_PRESETS = (
    _preset("8b", "Llama 3.1 8B, FSDP2", "8B", nodes=4, batch=32, layout=Layout()),
    _preset(
        "8b-float8",
        "Llama 3.1 8B, FSDP2, linear layers in float8, compiled",
        "8B",
        *_FLOAT8,
        nodes=4,
        batch=32,
        layout=Layout(),
    ),
    _preset(
        "8b-context",
        "Llama 3.1 8B with sequences of 32768 tokens, each over 4 GPUs",
        "8B",
        "--parallelism.context_parallel_degree=4",
        nodes=4,
        batch=8,
        sequence=32768,
        layout=Layout(cp=4),
    ),
    _preset("70b", "Llama 3.1 70B, FSDP2 and TP 8", "70B", _TP, nodes=16, batch=64, layout=Layout(tp=8)),
    _preset(
        "70b-stages",
        "Llama 3.1 70B, TP 8 and a pipeline of four stages",
        "70B",
        _TP,
        *("--parallelism.pipeline_parallel_degree=4", "--parallelism.pipeline_parallel_schedule=1F1B"),
        nodes=16,
        batch=128,
        layout=Layout(tp=8, pp=4, micro_batch=8),
    ),
    _preset(
        "405b",
        "Llama 3.1 405B, FSDP2 and TP 8, float8, compiled",
        "405B",
        _TP,
        *_FLOAT8,
        "--parallelism.enable_async_tensor_parallel",
        nodes=64,
        batch=128,
        layout=Layout(tp=8, micro_batch=2),
    ),
    Preset(
        name="tiny",
        description="torchtitan's debug model in seconds on two cores: 20 steps, a checkpoint every 5",
        arguments=(
            *("--model.name=llama3_synthetic", "--model.flavor=debugmodel", "--training.steps=20"),
            *("--training.seq_len=64", "--training.local_batch_size=4", "--training.global_batch_size=8"),
            *("--debug.seed=0", "--optimizer.lr=4e-3", "--lr_scheduler.warmup_steps=2"),
            *("--metrics.log_freq=1", "--checkpoint.interval=5", "--training.mixed_precision_param=float32"),
        ),
        instance_type=CPU,
        nodes=2,
        global_batch=8,
        tokens_per_sample=64,
        accelerators=("gpu", "cpu"),
        precision="fp32",
        layout=Layout(micro_batch=4),
    ),
)

_ON_TEXT = tuple(
    replace(
        preset,
        name=f"{preset.name}-c4",
        description=f"{preset.description}, on c4",
        arguments=(
            *(word for word in preset.arguments if not word.startswith("--model.name=")),
            *("--model.name=llama3", "--training.dataset=c4"),
            f"--training.dataset_path={hub_commits.at(hub_commits.C4)}",
        ),
    )
    for preset in _PRESETS
    if preset.name in ("8b", "70b")
)

_TOKENIZER = Stage(
    name="tokenizer",
    title="fetches Llama 3.1's tokenizer from the Hugging Face hub",
    program=Program(path="fetch_tokenizer.py"),
    presets=tuple(preset.name for preset in _ON_TEXT),
    options="fetch_tokenizer",
)

_WARMUP = 3
"""Steps before those that are captured in which torch's profiler starts: torchtitan's own default."""


def _trace(profile: Profile, ranks: int) -> tuple[str, ...]:
    """Return torchtitan's options for torch's profiler (torchtitan/config/job_config.py): it captures every rank.

    Raises:
        ValueError: other ranks are asked for.
    """
    if profile.ranks not in ("", "all", DEFAULT_RANKS) and len(profile.numbers(ranks)) < ranks:
        raise ValueError("torchtitan captures all ranks; leave --profile-ranks out or give 'all'")
    return (
        *("--profiling.enable_profiling", "--profiling.save_traces_folder=profile"),
        # A period ends with the last step: those that are captured are the end of it.
        *(
            f"--profiling.profile_freq={profile.last}",
            f"--profiling.profiler_active={profile.last - profile.first + 1}",
        ),
        f"--profiling.profiler_warmup={min(_WARMUP, profile.first - 1)}",
    )


def _saves(arguments: Sequence[str]) -> bool:
    """Return whether a run writes checkpoints: tyro's way to say no, with a dash or an underscore, takes back ours."""
    words = [word.replace("_", "-") for word in arguments]
    return not {"--checkpoint.no-enable", "--no-checkpoint.enable"} & set(words)


WORKLOAD = Workload(
    name="torchtitan",
    title="Pre-training of Llama 3 by torchtitan (FSDP2, TP, PP, CP, float8, compile)",
    launcher=Torchrun(),
    image=Image("cuda"),
    resources=Resources(accelerators=("gpu",), memory_gib_per_rank=32),
    presets=MappingProxyType({preset.name: preset for preset in (*_PRESETS, *_ON_TEXT)}),
    proofs=MappingProxyType(
        {
            **accepted(*TORCHRUN_FORMATS, Format.JOBSET),
            Format.TRAINJOB: TINY_PODS,
            Format.LOCAL: TINY_RANKS,
        }
    ),
    progress=Progress(
        pattern=(
            rf"step: +(?P<step>[0-9]+)  loss: +(?P<loss>{number('[0-9][0-9.]*')})"
            rf"  grad_norm: +(?P<gradient_norm>{number('[0-9.]+')})  memory: "
            r".*tps: (?P<tokens_per_second_per_rank>[0-9,]+)  tflops: (?P<tflops>[0-9.,]+)  "
            r"mfu: (?:(?P<mfu_percent>[0-9.]+)%|N/A)"
        ),
        # Compilation of a large model, or a checkpoint of it.
        start_seconds=1800,
        stall_seconds=900,
        # Of a pipeline the last stage knows the loss.
        printed_by=PrintedBy.LAST_RANK,
    ),
    environment=MappingProxyType({"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}),
    secrets=(Secret("huggingface", "HF_TOKEN"),),
    stages=(_TOKENIZER,),
    assets=(
        Asset(
            "tokenizer",
            "torchtitan/tokenizer",
            "TOKENIZER_FOLDER",
            kind="tokenizer",
            stage="tokenizer",
            required=True,
            licence="Llama 3.1 Community License",
        ),
    ),
    saves=_saves,
    peak_precision="bf16",
    footprint=footprint,
    splits=splits,
    size_arguments=SizeArguments(
        tp="--parallelism.tensor_parallel_degree",
        pp="--parallelism.pipeline_parallel_degree",
        cp="--parallelism.context_parallel_degree",
        micro_batch="--training.local_batch_size",
        sequence=("--training.seq_len",),
        replicate="--parallelism.data_parallel_replicate_degree",
        shard="--parallelism.data_parallel_shard_degree",
        counts=MappingProxyType({"--training.global_batch_size": ("-1",)}),
        precision=MappingProxyType(
            {
                "--model.converters": {"*float8*": "fp8"},
                "--training.mixed_precision_param": {"float32": "fp32"},
            }
        ),
        default_precision="bf16",
    ),
    global_batch_argument="--training.global_batch_size",
    profilers=MappingProxyType({Profiler.TORCH: _trace}),
    options="titan_options",
)
