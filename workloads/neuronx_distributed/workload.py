"""The workload neuronx-distributed: pre-training of Llama 3 on Trainium by NxD's own programs (TP, PP, ZeRO-1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from catalog import hub_commits
from catalog.reference_types import CPU, NEURON
from workloads.accepted import accepted
from workloads.asset import Asset
from workloads.images.image import Image
from workloads.launchers import NeuronTorchrun
from workloads.layout import Layout
from workloads.neuronx_distributed.arithmetic import footprint, splits
from workloads.preset import Override, Preset
from workloads.program import Program
from workloads.progress import Progress, number
from workloads.proof import TINY_RANKS
from workloads.resources import Resources
from workloads.secret import Secret
from workloads.shared_options import SharedOptions
from workloads.size_arguments import SizeArguments
from workloads.spec import Format, Workload
from workloads.stage import Stage
from workloads.words import option_values

_SEQUENCE = 8192
_KV = "--kv_replicator=4"

_8B_LAYOUT = Layout(tp=32)
_70B_LAYOUT = Layout(tp=32, pp=8)

# The arguments of NxD's scripts tp_zero1_llama3_8B_hf_pretrain.sh and run_llama3_70B_tp_pp.sh (v2.28.0).
_8B = (
    *("--model=llama3-8b", "--global-batch=1024", "--tensor_parallel_size=32", f"--seq_len={_SEQUENCE}"),
    *(
        "--max_steps=10000",
        "--warmup_steps=100",
        "--lr=1.5e-4",
        "--checkpoint_freq=100",
        "--logging_interval=1",
    ),
    *("--use_mix_precision", "--use_zero_1", "--sequence_parallel_enabled", "--selective_checkpoint_enabled"),
    *(
        "--qkv_linear",
        _KV,
        "--use_flash_attention=1",
        "--use_gpu_compatible_precision=1",
        "--print_grad_norm",
    ),
)
_70B = (
    *("--model=llama3-70b", "--global-batch=1024", "--tensor_parallel_size=32", "--pipeline_parallel_size=8"),
    *(f"--seq_len={_SEQUENCE}", "--max_steps=30000", "--warmup_steps=2000", "--constant_steps=0"),
    *("--lr=1.5e-5", "--min_lr=1e-06", "--beta1=0.9", "--beta2=0.95", "--weight_decay=0.1"),
    *("--checkpoint_freq=50", "--use_meta_device_init=1", "--use_zero1_optimizer=1", "--save_load_xser=1"),
    *("--use_selective_checkpoint=1", "--use_flash_attention=1", "--qkv_linear=1", _KV),
)

_SHARDS = SharedOptions(
    same=(
        *("--model", "--hardware", "--tensor_parallel_size", "--pipeline_parallel_size"),
        "--kv_replicator",
    )
)
"""The options that shards of weights depend on."""

_GRAPHS = SharedOptions(
    every=True,
    # Steps, checkpoints and logs, which are not in a graph.
    own=(
        *("--task", "--max_steps", "--steps_this_run", "--loading_step", "--checkpoint_freq"),
        *("--checkpoint_dir", "--num_kept_checkpoint", "--logging_interval", "--metrics_file"),
        *("--output_dir", "--tb_dir"),
    ),
)
_LENGTH = SharedOptions(renamed=MappingProxyType({"--seq_len": "--sequence-length"}))

_TORCHRUN = (
    *("neuron_parallel_compile", "torchrun", "--nnodes=$NNODES", "--nproc-per-node=$RANKS_PER_NODE"),
    *(
        "--node-rank=$NODE_RANK",
        "--master-addr=$MASTER_ADDR",
        "--master-port=$MASTER_PORT",
        "--max-restarts=0",
    ),
    "$PROGRAM_FOLDER/train.py",
)


def _preset(
    name: str,
    description: str,
    arguments: tuple[str, ...],
    *more: str,
    nodes: int,
    layout: Layout,
    arenas: int,
) -> Preset:
    """Return a preset, whose stages have what they need of the same arguments."""
    words = (*arguments, *more)
    # On Trainium2 the converter lays key and value heads out in another way.
    hardware = ("--hardware=trn2",)
    on = Override(arguments=hardware, stages=MappingProxyType({"compile": hardware, "convert": hardware}))
    return Preset(
        name=name,
        description=description,
        arguments=words,
        instance_type=NEURON,
        nodes=nodes,
        global_batch=1024,
        tokens_per_sample=_SEQUENCE,
        precision="bf16",
        layout=layout,
        # glibc reads it when a process starts; what else NxD's scripts set is in the launch file.
        environment=MappingProxyType({"MALLOC_ARENA_MAX": str(arenas)}),
        on=MappingProxyType({"trn2": on}),
        stages=MappingProxyType({"compile": (*words, "--task=compile"), "convert": _SHARDS.words(words)}),
    )


def _export(preset: Preset) -> Preset:
    """Return the preset that converts a run's newest checkpoint back: launched with the run's id."""
    return replace(
        preset,
        name=f"{preset.name}-export",
        description=f"{preset.description}: the run's newest checkpoint in one file",
        arguments=(*preset.arguments, "--task=export"),
        nodes=1,
        # One rank converts.
        layout=None,
        global_batch=None,
        tokens_per_sample=None,
        on=MappingProxyType({"trn2": Override(arguments=("--hardware=trn2",))}),
        stages=MappingProxyType({}),
    )


_LLAMA_8B = _preset("8b", "Llama 3 8B, TP 32 and ZeRO-1", _8B, nodes=4, layout=_8B_LAYOUT, arenas=64)
_LLAMA_70B = _preset(
    "70b", "Llama 3 70B, TP 32, PP 8 and ZeRO-1", _70B, nodes=16, layout=_70B_LAYOUT, arenas=128
)
_CONTINUED = ("--tokens=c4", "--weights=converted")

_TRAINED = (
    _LLAMA_8B,
    _preset(
        "8b-continued",
        "the same on c4, from the weights of the hub",
        _8B,
        *_CONTINUED,
        nodes=4,
        layout=_8B_LAYOUT,
        arenas=64,
    ),
    _LLAMA_70B,
    _preset(
        "70b-continued",
        "the same on c4, from the weights of the hub",
        _70B,
        *_CONTINUED,
        nodes=16,
        layout=_70B_LAYOUT,
        arenas=128,
    ),
)
_ON_C4 = ("8b-continued", "70b-continued")

_TINY = Preset(
    name="tiny",
    description="a placeholder in place of NxD: a linear regression on two CPU ranks, a pipeline of two stages",
    arguments=(
        *("--model=placeholder", "--global-batch=8", "--pipeline_parallel_size=2", "--max_steps=20"),
        *("--checkpoint_freq=5", "--lr=0.05"),
    ),
    instance_type=CPU,
    nodes=2,
    global_batch=8,
    accelerators=("cpu",),
    layout=Layout(pp=2),
)

_STAGES = (
    Stage(
        name="synthetic",
        title="makes synthetic tokens",
        program=Program(path="make_tokens.py"),
        arguments=("synthetic",),
        presets=("8b", "70b"),
        options="make_tokens",
        shares=_LENGTH,
        after=(),
    ),
    Stage(
        name="tokenize",
        title="tokenizes a part of c4",
        program=Program(path="make_tokens.py"),
        arguments=("c4", f"--revision={hub_commits.C4}"),
        presets=_ON_C4,
        options="make_tokens",
        shares=_LENGTH,
        after=(),
    ),
    Stage(
        name="convert",
        title="cuts the hub's weights into a shard for each tensor and pipeline rank",
        program=Program(path="convert.py"),
        # Of 70B the whole model is in memory, on a node of the run's own.
        resources=Resources(("neuron",), ranks_per_node=1, memory_gib_per_rank=300),
        presets=_ON_C4,
        options="convert",
        shares=_SHARDS,
        after=(),
    ),
    Stage(
        name="compile",
        title="compiles the graphs of a few steps ahead, on all nodes",
        program=Program(command=_TORCHRUN, in_image=True),
        resources=Resources(("neuron",), memory_gib_per_rank=8),
        nodes=None,
        presets=tuple(preset.name for preset in _TRAINED),
        options="nxd_options",
        shares=_GRAPHS,
        after=("synthetic", "tokenize", "convert"),
    ),
)

# The program for 8B prints epoch and step, loss, rate, speed; the one with a pipeline step, seconds, speed, loss.
_NUMBER = r"[0-9][0-9.]*(?:e[+-]?[0-9]+)?"
_PROGRESS = (
    r"^(?:LOG .* - \([0-9]+, |step )(?P<step>[0-9]+)\b"
    rf"(?:(?=.* step_time (?P<seconds_per_step>{_NUMBER})s)|)"
    rf"(?=.* throughput(?: :)? (?P<samples_per_second>{_NUMBER}) seq/s)"
    rf"(?=.*loss(?: :)? (?P<loss>{number(_NUMBER)}))"
    rf"(?:(?=.* grad[ -]norm(?: :)? (?P<gradient_norm>{number(_NUMBER)}))|)"
)


def _saves(arguments: Sequence[str]) -> bool:
    """Return whether a run writes checkpoints: an export reads one and begins anew, and so does one of frequency -1."""
    given = option_values(arguments)
    return given.get("task") != "export" and not given.get("checkpoint_freq", "").startswith(("-", "0"))


WORKLOAD = Workload(
    name="neuronx-distributed",
    title="Pre-training of Llama 3 on Trainium by neuronx-distributed (TP, PP, ZeRO-1)",
    launcher=NeuronTorchrun(),
    image=Image("neuron"),
    resources=Resources(accelerators=("neuron",), memory_gib_per_rank=12, efa=True),
    presets=MappingProxyType(
        {preset.name: preset for preset in (*_TRAINED, _export(_LLAMA_8B), _export(_LLAMA_70B), _TINY)}
    ),
    proofs=MappingProxyType(
        {
            **accepted(Format.SLURM, Format.PYTORCHJOB, Format.TRAINJOB, Format.JOBSET, Format.BATCH),
            Format.LOCAL: TINY_RANKS.with_placeholder("NxD"),
        }
    ),
    progress=Progress(
        pattern=_PROGRESS,
        # Compilation, where the stage did not run.
        start_seconds=7200,
        # A step of 70B takes four minutes, and a checkpoint of it has hundreds of gigabytes.
        stall_seconds=3600,
    ),
    environment=MappingProxyType({"NEURON_FUSE_SOFTMAX": "1", "NEURON_CC_FLAGS": "--model-type=transformer"}),
    assets=(
        Asset("synthetic-tokens", "nxd-synthetic-8192", "SYNTHETIC_TOKENS", stage="synthetic", required=True),
        Asset(
            "c4-tokens", "nxd-c4-llama3-8192", "C4_TOKENS", stage="tokenize", required=True, licence="ODC-BY"
        ),
        Asset(
            "llama3-shards",
            "nxd-weights",
            "WEIGHTS_FOLDER",
            kind="weights",
            stage="convert",
            required=True,
            licence="Meta Llama 3 Community License",
        ),
    ),
    secrets=(Secret("huggingface", "HF_TOKEN"),),
    saves=_saves,
    resumes_by="aws-neuron/neuronx-distributed, test/unit_test/checkpoint/test_checkpoint.py",
    footprint=footprint,
    splits=splits,
    size_arguments=SizeArguments(
        tp="--tensor_parallel_size",
        pp="--pipeline_parallel_size",
        cp="--context_parallel_size",
        micro_batch="--micro-batch",
        sequence=("--seq_len",),
    ),
    global_batch_argument="--global-batch",
    options="nxd_options",
    stages=_STAGES,
)
