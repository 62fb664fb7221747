"""The workload nemo-launcher: the benchmarks of NVIDIA's launcher for NeMo 1, by our launch of NeMo's own program."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from catalog.reference_types import CPU, GPU
from catalog.versions import (
    AWS_OFI_NCCL,
    EFA_INSTALLER,
    EFA_SIGNING_KEY,
    GDRCOPY,
    GDRCOPY_COMMIT,
    LIBFABRIC,
    NEMO_1_IMAGE,
)
from workloads.accepted import accepted
from workloads.asset import Asset
from workloads.images.image import Image
from workloads.launchers import Torchrun
from workloads.layout import Layout
from workloads.nemo_launcher.arithmetic import VIRTUAL, footprint, splits
from workloads.preset import Override, Preset
from workloads.profile import Profile, Profiler
from workloads.program import Program
from workloads.progress import Progress, number
from workloads.proof import TINY_RANKS, Proof, Proven
from workloads.resources import Resources
from workloads.secret import Secret
from workloads.shared_options import SharedOptions
from workloads.size_arguments import SizeArguments
from workloads.spec import Format, Workload
from workloads.stage import Stage
from workloads.words import is_off, option_values

_MARGIN = MappingProxyType({"NVTE_FWD_LAYERNORM_SM_MARGIN": "8", "NVTE_BWD_LAYERNORM_SM_MARGIN": "8"})
"""The launcher's on H100 with virtual stages: multiprocessors that normalization leaves to communication."""

_SEQUENCES = {"gpt3-*": 2048, "llama2-*": 4096}
"""The tokens of a sample by model (conf/family)."""

_HOPPER = ("p5", "p5e", "p5en")


def _preset(
    model: str,
    description: str,
    *values: str,
    steps: int,
    nodes: int,
    layout: Layout,
    suffix: str = "",
    batch: int = 2048,
) -> Preset:
    """Return a preset; the parallel sizes and the micro batch are said again, for whoever reads the manifest."""
    environment = {"CUDA_DEVICE_MAX_CONNECTIONS": "1"} if layout.tp > 1 else {}
    virtual = any(value.startswith("model.virtual_pipeline") for value in values)
    return Preset(
        name=f"{model}{suffix}",
        description=description,
        arguments=(
            *(f"--model={model}", f"--global-batch={batch}", f"trainer.max_steps={steps}"),
            f"model.micro_batch_size={layout.micro_batch}",
            f"model.tensor_model_parallel_size={layout.tp}",
            f"model.pipeline_model_parallel_size={layout.pp}",
            *values,
        ),
        instance_type=GPU,
        nodes=nodes,
        global_batch=batch,
        tokens_per_sample=_SEQUENCES[f"{model.partition('-')[0]}-*"],
        # Transformer Engine has no bf16 below compute capability 8.0 ("Datatype and hardware support matrix").
        precision="bf16",
        layout=layout,
        environment=MappingProxyType(environment),
        on=MappingProxyType(dict.fromkeys(_HOPPER, Override(environment=_MARGIN)) if virtual else {}),
        stages=MappingProxyType({"tokenizer": (f"--model={model}",)}),
    )


_BENCHMARKS = (
    _preset(
        "gpt3-126m",
        "GPT-3 of 126M, 100 steps",
        "trainer.val_check_interval=100",
        steps=100,
        nodes=2,
        batch=256,
        layout=Layout(micro_batch=4),
    ),
    _preset(
        "gpt3-5b",
        "GPT-3 of 5B, 30 steps",
        "trainer.val_check_interval=30",
        steps=30,
        nodes=2,
        layout=Layout(micro_batch=2),
    ),
    _preset(
        "gpt3-40b",
        "GPT-3 of 40B, 5 steps, TP 2, PP 4",
        "trainer.val_check_interval=5",
        steps=5,
        nodes=2,
        layout=Layout(tp=2, pp=4),
    ),
    _preset(
        "gpt3-175b",
        "GPT-3 of 175B, 5 steps, TP 4, PP 8 (6 virtual stages each)",
        "model.virtual_pipeline_model_parallel_size=6",
        # No longer than the interval of validation, as the launcher has it.
        *("model.gc_interval=5", "trainer.val_check_interval=5"),
        steps=5,
        nodes=16,
        layout=Layout(tp=4, pp=8),
    ),
    _preset(
        "llama2-7b",
        "Llama 2 7B, 30 steps",
        "trainer.val_check_interval=30",
        steps=30,
        nodes=2,
        layout=Layout(),
    ),
    _preset(
        "llama2-70b",
        "Llama 2 70B, 5 steps, TP 4, PP 4 (5 virtual stages each)",
        "model.virtual_pipeline_model_parallel_size=5",
        *("model.gc_interval=0", "trainer.val_check_interval=5"),
        steps=5,
        nodes=16,
        layout=Layout(tp=4, pp=4),
    ),
)
_PILE = _preset(
    "gpt3-5b",
    "GPT-3 of 5B on six files of the Pile, a checkpoint every 2000 steps",
    *("--data=pile", "--files=0-5", "--save=validation"),
    steps=75000,
    nodes=2,
    layout=Layout(micro_batch=2),
    suffix="-pile",
)
_TINY = Preset(
    name="tiny",
    description="the configuration of GPT-3 of 126M with a placeholder in place of NeMo: 20 steps on two CPU ranks",
    arguments=(
        "--program=placeholder",
        "--model=gpt3-126m",
        "--global-batch=8",
        "trainer.max_steps=20",
        "model.micro_batch_size=4",
    ),
    instance_type=CPU,
    nodes=2,
    global_batch=8,
    tokens_per_sample=2048,
    accelerators=("cpu",),
    layout=Layout(micro_batch=4),
)

_OF_NEMO = tuple(preset.name for preset in (*_BENCHMARKS, _PILE))
_STAGES = (
    Stage(
        name="tokenizer",
        title="fetches the tokenizer from the Hugging Face hub",
        program=Program(path="fetch_tokenizer.py"),
        presets=_OF_NEMO,
        options="fetch_tokenizer",
        shares=SharedOptions(same=("--model",)),
    ),
    Stage(
        name="pile",
        title="fetches files of the Pile and tokenizes them with NeMo's script, a part on each node",
        program=Program(path="pile.py"),
        # NeMo imports Transformer Engine, which its image has for GPUs.
        resources=Resources(("gpu",)),
        nodes=None,
        presets=(_PILE.name,),
        arguments=("--files=0-5",),
        options="pile",
        shares=SharedOptions(same=("--files",)),
    ),
)

_NUMBER = r"[0-9.]+(?:e[+-]?[0-9]+)?"


def _captured(profile: Profile, ranks: int) -> tuple[str, ...]:
    """Return NeMo's values for nsys: the first and the last global batch, counted from 0.

    Source: NVIDIA/NeMo v2.1.0, nemo/core/classes/modelPT.py (on_train_batch_start, on_train_batch_end), which compares
    them with the index of a batch.
    """
    return (
        "model.nsys_profile.enabled=true",
        f"model.nsys_profile.start_step={profile.first - 1}",
        f"model.nsys_profile.end_step={profile.last - 1}",
        f"model.nsys_profile.ranks=[{','.join(map(str, profile.numbers(ranks)))}]",
    )


def _saves(arguments: Sequence[str]) -> bool:
    """Return whether a run writes checkpoints: with `--save=none`, the program's default, it writes none."""
    if is_off(arguments, "exp_manager.create_checkpoint_callback"):
        return False
    return option_values(arguments).get("save", "none") != "none"


WORKLOAD = Workload(
    name="nemo-launcher",
    title="Benchmarks of the launcher for NeMo 1: pre-training of GPT-3 and Llama 2",
    launcher=Torchrun(),
    image=Image(
        reference=str(NEMO_1_IMAGE),
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
    presets=MappingProxyType({preset.name: preset for preset in (*_BENCHMARKS, _PILE, _TINY)}),
    proofs=MappingProxyType(
        {
            Format.SLURM: Proven(
                Proof.EXECUTED,
                preset="tiny",
                hardware="2 nodes without a GPU, a placeholder in place of NeMo",
            ),
            **accepted(Format.PYTORCHJOB, Format.TRAINJOB, Format.JOBSET, Format.BATCH),
            Format.LOCAL: TINY_RANKS.with_placeholder("NeMo"),
        }
    ),
    progress=Progress(
        # global_step and consumed_samples are rounded to three digits; the bar's own count of steps is not.
        pattern=(
            rf"Epoch [0-9]+: .*\| *(?P<step>[0-9]+)/[0-9]+ \[.*reduced_train_loss=(?P<loss>{number(_NUMBER)})"
            rf"(?:.*consumed_samples=(?P<consumed_samples>{_NUMBER}))?"
            rf"(?:.*train_step_timing in s=(?P<seconds_per_step>{_NUMBER}))?"
        ),
        # The image imports for minutes, and a large model loads or saves for as long.
        start_seconds=1800,
        stall_seconds=1800,
    ),
    environment=MappingProxyType(
        {
            "TORCH_NCCL_AVOID_RECORD_STREAMS": "1",
            "NCCL_NVLS_ENABLE": "0",
            "TOKENIZERS_PARALLELISM": "false",
            "HYDRA_FULL_ERROR": "1",
        }
    ),
    secrets=(Secret("huggingface", "HF_TOKEN"),),
    stages=_STAGES,
    assets=(
        Asset(
            "tokenizers",
            "nemo-launcher/tokenizers",
            "TOKENIZER_FOLDER",
            kind="tokenizer",
            stage="tokenizer",
            required=True,
            licence="GPT-2 Modified MIT; Llama 2 Community License",
        ),
        Asset("pile", "nemo-launcher/pile", "TOKENS_FOLDER", stage="pile", required=True),
    ),
    saves=_saves,
    resumes_by="NVIDIA/NeMo v2.1.0, tests/core/test_exp_manager.py: test_resume",
    footprint=footprint,
    splits=splits,
    size_arguments=SizeArguments(
        tp="model.tensor_model_parallel_size",
        pp="model.pipeline_model_parallel_size",
        cp="model.context_parallel_size",
        micro_batch="model.micro_batch_size",
        # Of conf/pretraining.yaml, where the first follows from the second.
        sequence=("model.data.seq_length", "model.encoder_seq_length"),
        sequence_of=MappingProxyType({"--model": _SEQUENCES}),
        counts=MappingProxyType({VIRTUAL: ("null", "none")}),
        precision=MappingProxyType(
            {"model.fp8": {"true": "fp8"}, "trainer.precision": {"16*": "fp16", "32*": "fp32"}}
        ),
        default_precision="bf16",
        ramp="model.rampup_batch_size",
    ),
    global_batch_argument="--global-batch",
    profilers=MappingProxyType({Profiler.NSYS: _captured}),
    options="nemo1_options",
)
