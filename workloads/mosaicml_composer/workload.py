"""The workload mosaicml-composer: MPT by llm-foundry from streaming shards, and Stable Diffusion 2, with Composer."""

from __future__ import annotations

from types import MappingProxyType

from catalog import hub_commits
from catalog.reference_types import CPU, GPU
from catalog.versions import AWS_OFI_NCCL, EFA_INSTALLER, LIBFABRIC, LLM_FOUNDRY_IMAGE
from workloads.accepted import accepted
from workloads.asset import Asset
from workloads.images.image import Image
from workloads.launchers import Torchrun
from workloads.layout import Layout
from workloads.mosaicml_composer.memory import footprint
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

_SEQUENCE = 2048


def _preset(
    name: str, description: str, model: str, *more: str, nodes: int, batch: int, micro_batch: int, rate: str
) -> Preset:
    """Return a preset on GPUs: a model, its batch, and what differs from the others."""
    return Preset(
        name=name,
        description=description,
        arguments=(
            *(f"--model={model}", "--steps=1000", f"--global-batch={batch}", f"--micro-batch={micro_batch}"),
            *(f"--learning-rate={rate}", "--save-every=200"),
            *more,
        ),
        instance_type=GPU,
        nodes=nodes,
        global_batch=batch,
        tokens_per_sample=_SEQUENCE if model.startswith("mpt") else None,
        precision="bf16",
        # torch emulates bf16; the flash attention of llm-foundry's MPT does not (README of Dao-AILab/flash-attention).
        emulated=not model.startswith("mpt"),
        layout=Layout(micro_batch=micro_batch),
    )


_C4 = ("--data=shards",)

_PRESETS = (
    _preset("mpt-7b", "MPT 7B, FSDP", "mpt-7b", nodes=2, batch=1024, micro_batch=8, rate="1.2e-4"),
    _preset("mpt-7b-c4", "the same on C4", "mpt-7b", *_C4, nodes=2, batch=1024, micro_batch=8, rate="1.2e-4"),
    _preset("mpt-30b", "MPT 30B, FSDP", "mpt-30b", nodes=4, batch=2048, micro_batch=8, rate="1e-4"),
    _preset("mpt-1b", "MPT 1B, FSDP", "mpt-1b", nodes=1, batch=512, micro_batch=4, rate="2e-4"),
    _preset("mpt-125m", "MPT 125M, FSDP", "mpt-125m", nodes=1, batch=256, micro_batch=16, rate="6e-4"),
    _preset(
        "sd2-512",
        "Stable Diffusion 2 base, latents of images of 512 pixels, moving average of weights",
        "sd2-512",
        "--ema",
        nodes=1,
        batch=2048,
        micro_batch=32,
        rate="1e-4",
    ),
    _preset(
        "sd2-256",
        "the same with images of 256 pixels",
        "sd2-256",
        "--ema",
        nodes=1,
        batch=2048,
        micro_batch=64,
        rate="1e-4",
    ),
    *(
        Preset(
            name=name,
            description=f"{what} in seconds on two cores",
            arguments=(
                *(f"--model={model}", "--trainer=composer", f"--steps={steps}", "--global-batch=8"),
                *("--micro-batch=2", "--learning-rate=4e-3", "--warmup=2", "--save-every=5", "--workers=0"),
                *more,
            ),
            instance_type=CPU,
            nodes=2,
            global_batch=8,
            tokens_per_sample=tokens,
            accelerators=("gpu", "cpu"),
            precision="bf16",
            emulated=True,
            layout=Layout(micro_batch=2),
        )
        for name, what, model, steps, tokens, more in (
            ("tiny", "a small MPT, 30 steps, a checkpoint every 5", "mpt-tiny", 30, 64, ()),
            ("sd2-tiny", "a small Stable Diffusion, 5 steps", "sd2-tiny", 5, None, ("--ema",)),
        )
    ),
)

_CONVERT = Stage(
    name="convert",
    title="tokenizes documents of C4 and writes them as MDS shards",
    program=Program(path="convert.py"),
    presets=("mpt-7b-c4",),
    arguments=(f"--dataset={hub_commits.at(hub_commits.C4)}",),
    options="convert",
    shares=SharedOptions(
        keyed=MappingProxyType({"--set": {"max_seq_len": "--length", "tokenizer.name": "--tokenizer"}})
    ),
    resources=Resources(("cpu",), memory_gib_per_rank=4),
)

WORKLOAD = Workload(
    name="mosaicml-composer",
    title="Pre-training of MPT by llm-foundry, and Stable Diffusion 2, with MosaicML Composer and streaming shards",
    launcher=Torchrun(),
    image=Image(
        reference=str(LLM_FOUNDRY_IMAGE),
        pins=MappingProxyType(
            {
                "EFA_INSTALLER": str(EFA_INSTALLER),
                "LIBFABRIC": str(LIBFABRIC),
                "AWS_OFI_NCCL": str(AWS_OFI_NCCL),
            }
        ),
        programs=("torchrun",),
    ),
    resources=Resources(accelerators=("gpu",), memory_gib_per_rank=32),
    presets=MappingProxyType({preset.name: preset for preset in _PRESETS}),
    proofs=MappingProxyType(
        {
            # The vendor's image has no hyperpodrun.
            **accepted(Format.SLURM, Format.PYTORCHJOB, Format.TRAINJOB, Format.JOBSET, Format.BATCH),
            Format.TRAINJOB: TINY_PODS,
            Format.LOCAL: TINY_RANKS,
        }
    ),
    progress=Progress(
        pattern=(
            rf"step=(?P<step>[0-9]+) loss=(?P<loss>{number()}) "
            r"seconds_per_step=(?P<seconds_per_step>[0-9][0-9.]*)(?: tflops=(?P<tflops>[0-9][0-9.e+-]*))?"
        ),
        # Composer checks a folder of a large checkpoint, and llm-foundry makes the model on the meta device.
        start_seconds=1800,
        stall_seconds=1800,
    ),
    environment=MappingProxyType({"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}),
    assets=(
        Asset("c4", "c4-gpt-neox-20b", "C4_FOLDER", stage="convert", required=True, licence="ODC-BY"),
        Asset("latents", "latents", "LATENTS_FOLDER"),
    ),
    secrets=(Secret("huggingface", "HF_TOKEN"),),
    # Of FSDP's shards, as llm-foundry trains; the tests here kill Composer alone.
    resumes_by="mosaicml/composer v0.32.1, tests/trainer/test_fsdp_checkpoint.py: "
    "test_fsdp_partitioned_state_dict_load (with autoresume)",
    peak_precision="bf16",
    footprint=footprint,
    size_arguments=SizeArguments(
        micro_batch="--micro-batch",
        sequence=("--set=max_seq_len",),
        sequence_of=MappingProxyType({"--model": {"mpt-tiny": 64, "mpt-*": _SEQUENCE, "sd2-*": None}}),
    ),
    global_batch_argument="--global-batch",
    options="composer_options",
    stages=(_CONVERT,),
)
