"""The workload nemo-run: recipes of NeMo 2, pre-training and fine-tuning, run by NeMo-Run under our launcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from catalog import hub_commits
from catalog.reference_types import CPU, GPU
from catalog.versions import (
    AWS_OFI_NCCL,
    EFA_INSTALLER,
    EFA_SIGNING_KEY,
    GDRCOPY,
    GDRCOPY_COMMIT,
    LIBFABRIC,
    NEMO_IMAGE,
)
from workloads.accepted import accepted
from workloads.asset import Asset
from workloads.images.image import Image
from workloads.launchers import Torchrun
from workloads.layout import Layout
from workloads.nemo_run.arithmetic import VIRTUAL, footprint, splits
from workloads.preset import Preset
from workloads.program import Program
from workloads.progress import Progress, number
from workloads.proof import TINY_PODS, TINY_RANKS
from workloads.resources import Resources
from workloads.secret import Secret
from workloads.shared_options import SharedOptions
from workloads.size_arguments import SizeArguments
from workloads.spec import Format, Workload
from workloads.stage import Stage
from workloads.words import is_off

_PRECISION: Final = "bf16"
"""Of all recipes (`bf16_mixed`), by Transformer Engine, which has none below compute capability 8.0."""

_STEPS = (
    *("trainer.max_steps=1000", "trainer.log_every_n_steps=1", "trainer.num_sanity_val_steps=0"),
    *("trainer.val_check_interval=250", "trainer.limit_val_batches=2"),
)


def _pretrain(
    name: str, description: str, recipe: str, *values: str, nodes: int, layout: Layout, sequence: int = 8192
) -> Preset:
    """Return a pre-training preset; the parallel sizes are those of the recipe, and are said again."""
    return Preset(
        name=name,
        description=description,
        arguments=(
            *(f"--recipe={recipe}", "--task=pretrain", "--global-batch=512"),
            *_STEPS,
            f"data.seq_length={sequence}",
            f"model.config.seq_length={sequence}",
            f"data.micro_batch_size={layout.micro_batch}",
            f"trainer.strategy.tensor_model_parallel_size={layout.tp}",
            f"trainer.strategy.pipeline_model_parallel_size={layout.pp}",
            f"trainer.strategy.context_parallel_size={layout.cp}",
            *values,
        ),
        instance_type=GPU,
        nodes=nodes,
        global_batch=512,
        tokens_per_sample=sequence,
        precision=_PRECISION,
        layout=layout,
    )


def _finetune(name: str, description: str, adapter: str, *, layout: Layout) -> Preset:
    """Return a preset that fine-tunes Llama 3.1 8B on SQuAD, on one node."""
    return Preset(
        name=name,
        description=description,
        arguments=(
            *("--recipe=llama31_8b", "--task=finetune", f"--adapter={adapter}", "--global-batch=128"),
            *_STEPS,
            f"trainer.strategy.tensor_model_parallel_size={layout.tp}",
        ),
        instance_type=GPU,
        nodes=1,
        global_batch=128,
        tokens_per_sample=2048,
        precision=_PRECISION,
        layout=layout,
        stages=MappingProxyType({"prepare": ("--recipe=llama31_8b",)}),
    )


_SMALL_MODEL = (
    *("model.config.num_layers=12", "model.config.hidden_size=768", "model.config.ffn_hidden_size=2688"),
    *("model.config.num_attention_heads=16", "model.config.init_method_std=0.023"),
)


def _on_c4(preset: Preset) -> Preset:
    """Return a pre-training preset on C4, which the stage fetches and tokenizes."""
    return replace(
        preset,
        name=f"{preset.name}-c4",
        description=f"{preset.description}, on c4",
        arguments=(*preset.arguments, "--data=tokens"),
    )


_PRETRAINING = (
    _pretrain("8b", "pre-training of Llama 3.1 8B, CP 2", "llama31_8b", nodes=4, layout=Layout(cp=2)),
    _pretrain(
        "70b",
        "pre-training of Llama 3.1 70B, TP 4, PP 4 (5 virtual stages each), CP 2",
        "llama31_70b",
        "trainer.strategy.virtual_pipeline_model_parallel_size=5",
        nodes=16,
        layout=Layout(tp=4, pp=4, cp=2),
    ),
    _pretrain(
        "405b",
        "pre-training of Llama 3.1 405B, TP 8, PP 8 (2 virtual stages each), CP 4",
        "llama31_405b",
        "trainer.strategy.virtual_pipeline_model_parallel_size=2",
        nodes=64,
        layout=Layout(tp=8, pp=8, cp=4),
    ),
    _pretrain(
        "180m",
        "pre-training of a Llama of 12 layers, for a first run on one node",
        "llama31_8b",
        *_SMALL_MODEL,
        nodes=1,
        sequence=1024,
        layout=Layout(),
    ),
)
_ON_C4 = tuple(_on_c4(preset) for preset in _PRETRAINING)

_PRESETS = (
    *_PRETRAINING,
    *_ON_C4,
    _finetune("8b-lora", "LoRA fine-tuning of Llama 3.1 8B on SQuAD", "lora", layout=Layout()),
    _finetune(
        "8b-finetune", "fine-tuning of Llama 3.1 8B on SQuAD, all weights, TP 2", "none", layout=Layout(tp=2)
    ),
    Preset(
        name="tiny",
        description="a placeholder for NeMo's recipes in seconds on two cores: 20 steps, a checkpoint every 5",
        arguments=(
            "--recipe=placeholder",
            "trainer.max_steps=20",
            "log.ckpt.every_n_train_steps=5",
            "data.micro_batch_size=4",
        ),
        instance_type=CPU,
        nodes=2,
        global_batch=8,
        tokens_per_sample=16,
        accelerators=("gpu", "cpu"),
        precision="fp32",
        layout=Layout(micro_batch=4),
    ),
)

_PREPARE = Stage(
    name="prepare",
    title="fetches the base model and SQuAD, and converts them for NeMo",
    program=Program(path="prepare.py"),
    resources=Resources(("cpu",), memory_gib_per_rank=64),
    presets=("8b-lora", "8b-finetune"),
    arguments=(f"--squad-revision={hub_commits.SQUAD}",),
    options="prepare",
    shares=SharedOptions(same=("--recipe",)),
)

_TOKENS = Stage(
    name="tokens",
    title="fetches files of c4 and writes their tokens in Megatron-Core's format, with Llama 3.1's tokenizer",
    program=Program(path="make_tokens.py"),
    # Megatron-Core imports Transformer Engine, which NVIDIA's image has for GPUs.
    resources=Resources(("gpu",), ranks_per_node=1, memory_gib_per_rank=32),
    presets=tuple(preset.name for preset in _ON_C4),
    arguments=(f"--revision={hub_commits.C4}",),
    options="make_tokens",
    after=(),
)


def _saves(arguments: Sequence[str]) -> bool:
    """Return whether a run continues: not without the callback that writes checkpoints, nor if it begins anew."""
    return not (is_off(arguments, "log.ckpt") or is_off(arguments, "resume.resume_if_exists"))


WORKLOAD = Workload(
    name="nemo-run",
    title="Recipes of NeMo 2 by NeMo-Run: pre-training and fine-tuning of Llama 3.1",
    launcher=Torchrun(),
    image=Image(
        reference=str(NEMO_IMAGE),
        pins=MappingProxyType(
            {
                "EFA_INSTALLER": EFA_INSTALLER,
                "EFA_KEY": EFA_SIGNING_KEY,
                "LIBFABRIC": LIBFABRIC,
                "AWS_OFI_NCCL": AWS_OFI_NCCL,
                "GDRCOPY": GDRCOPY,
                "GDRCOPY_COMMIT": GDRCOPY_COMMIT,
            }
        ),
        programs=("torchrun",),
    ),
    resources=Resources(accelerators=("gpu",), memory_gib_per_rank=32),
    presets=MappingProxyType({preset.name: preset for preset in _PRESETS}),
    proofs=MappingProxyType(
        {
            **accepted(Format.SLURM, Format.PYTORCHJOB, Format.TRAINJOB, Format.JOBSET, Format.BATCH),
            Format.TRAINJOB: TINY_PODS.with_placeholder("NeMo"),
            Format.LOCAL: TINY_RANKS.with_placeholder("NeMo"),
        }
    ),
    progress=Progress(
        pattern=(
            r"Training epoch [0-9]+, iteration [0-9]+/[0-9]+ \| lr: (?P<learning_rate>[0-9.e+-]+) \| .*"
            rf"global_step: (?P<step>[0-9]+) \| reduced_train_loss: (?P<loss>{number('[0-9.e+-]+')})"
            r"(?: \| train_step_timing in s: (?P<seconds_per_step>[0-9.e+-]+))?"
            r"(?: \| consumed_samples: (?P<consumed_samples>[0-9]+))?"
        ),
        # The image imports for minutes, and a large model loads or saves for as long.
        start_seconds=1800,
        stall_seconds=1800,
    ),
    environment=MappingProxyType(
        {
            "TORCH_NCCL_AVOID_RECORD_STREAMS": "1",
            "CUDA_DEVICE_MAX_CONNECTIONS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
    ),
    secrets=(Secret("huggingface", "HF_TOKEN"),),
    stages=(_PREPARE, _TOKENS),
    assets=(
        Asset(
            "c4",
            "c4-llama3-megatron",
            "NEMO_TOKENS",
            stage="tokens",
            required=True,
            licence="C4: ODC-BY; its tokenizer: Llama 3.1 Community License",
        ),
        Asset(
            "nemo",
            "nemo",
            "NEMO_HOME",
            kind="weights",
            stage="prepare",
            required=True,
            licence="Llama 3.1 Community License; SQuAD CC BY-SA 4.0",
        ),
    ),
    saves=_saves,
    resumes_by="NVIDIA/NeMo, tests/lightning/test_resume.py and test_state_restoration.py",
    peak_precision="bf16",
    footprint=footprint,
    splits=splits,
    size_arguments=SizeArguments(
        tp="trainer.strategy.tensor_model_parallel_size",
        pp="trainer.strategy.pipeline_model_parallel_size",
        cp="trainer.strategy.context_parallel_size",
        ep="trainer.strategy.expert_model_parallel_size",
        micro_batch="data.micro_batch_size",
        sequence=("data.seq_length",),
        ramp="data.rampup_batch_size",
        counts=MappingProxyType({VIRTUAL: ("null", "none")}),
        precision=MappingProxyType(
            {name: {"hybrid": "fp8", "e4m3": "fp8"} for name in ("trainer.plugins.fp8", "model.config.fp8")}
        ),
    ),
    global_batch_argument="--global-batch",
    options="nemo_options",
)
