"""The workload megatron-lm: pre-training of GPT-3, Llama 2 and Llama 3 by NVIDIA's Megatron-LM (TP, PP, CP, DP)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

from catalog import hub_commits
from catalog.reference_types import CPU, GPU
from workloads.accepted import accepted
from workloads.asset import Asset
from workloads.images.image import Image
from workloads.launchers import Torchrun
from workloads.layout import Layout
from workloads.megatron_lm.arithmetic import footprint, splits
from workloads.preset import Preset
from workloads.profile import Profile, Profiler
from workloads.program import Program
from workloads.progress import PrintedBy, Progress, number
from workloads.proof import TINY_PODS, TINY_RANKS
from workloads.resources import Resources
from workloads.secret import Secret
from workloads.shared_options import SharedOptions
from workloads.size_arguments import SizeArguments
from workloads.spec import Format, Workload
from workloads.stage import Stage


@dataclass(frozen=True, slots=True)
class _Model:
    """A model: its sizes, how it is trained, and the options that its family shares."""

    name: str
    title: str
    layers: int
    hidden: int
    heads: int
    ffn: int
    sequence: int
    batch: int
    nodes: int
    layout: Layout
    family: tuple[str, ...]
    vocabulary: int
    tokenizer: tuple[str, ...]
    groups: int | None = None


_GPT3 = (
    "--position-embedding-type=learned_absolute",
    "--init-method-std=0.006",
    "--lr=6.0e-5",
    "--min-lr=6.0e-6",
)

_LLAMA = (
    *("--position-embedding-type=rope", "--normalization=RMSNorm", "--swiglu", "--disable-bias-linear"),
    *("--untie-embeddings-and-output-weights", "--attention-dropout=0.0", "--hidden-dropout=0.0"),
    *("--no-masked-softmax-fusion", "--init-method-std=0.02"),
)
_LLAMA2 = (*_LLAMA, "--norm-epsilon=1e-5", "--make-vocab-size-divisible-by=1")
_LLAMA3 = (*_LLAMA2, "--rotary-base=500000")
_UP_TO_13B = ("--lr=3.0e-4", "--min-lr=3.0e-5")
# As torchtitan (llama3_70b.toml at v0.2.2) and NeMo's launcher (llama2_70b.yaml at 24.12) have it.
_OF_70B = ("--lr=1.5e-4", "--min-lr=1.5e-5")

_GPT2_TOKENIZER = (
    *("--tokenizer-type=GPT2BPETokenizer", "--vocab-file={CORPUS_FOLDER}/gpt2-vocab.json"),
    "--merge-file={CORPUS_FOLDER}/gpt2-merges.txt",
)
_LLAMA2_TOKENIZER = (
    "--tokenizer-type=HuggingFaceTokenizer",
    f"--tokenizer-model={hub_commits.at(hub_commits.LLAMA_2_7B)}",
)
_LLAMA3_TOKENIZER = ("--tokenizer-type=HuggingFaceTokenizer", "--tokenizer-model=meta-llama/Meta-Llama-3-8B")


def _gpt3(
    name: str, size: str, layers: int, hidden: int, heads: int, *, batch: int, nodes: int, layout: Layout
) -> _Model:
    return _Model(
        *(name, f"GPT-3 {size}", layers, hidden, heads, 4 * hidden, 2048, batch, nodes, layout, _GPT3),
        *(50256, _GPT2_TOKENIZER),
    )


_MODELS = (
    _gpt3("gpt3-7-5b", "7.5B", 36, 4096, 32, batch=288, nodes=2, layout=Layout(tp=4, pp=2)),
    _gpt3("gpt3-1-7b", "1.7B", 24, 2304, 24, batch=512, nodes=1, layout=Layout()),
    _gpt3("gpt3-39b", "39B", 48, 8192, 64, batch=1536, nodes=8, layout=Layout(tp=8, pp=2)),
    _gpt3("gpt3-175b", "175B", 96, 12288, 96, batch=1536, nodes=16, layout=Layout(tp=8, pp=16)),
    _Model(
        *("llama2-7b", "Llama 2 7B", 32, 4096, 32, 11008, 4096, 2048, 2, Layout(), (*_LLAMA2, *_UP_TO_13B)),
        *(31999, _LLAMA2_TOKENIZER),
    ),
    _Model(
        *("llama2-13b", "Llama 2 13B", 40, 5120, 40, 13824, 4096, 2048, 2, Layout(tp=2)),
        (*_LLAMA2, *_UP_TO_13B),
        *(31999, _LLAMA2_TOKENIZER),
    ),
    _Model(
        *("llama2-70b", "Llama 2 70B", 80, 8192, 64, 28672, 4096, 2048, 8, Layout(tp=4, pp=4)),
        (*_LLAMA2, *_OF_70B),
        *(31999, _LLAMA2_TOKENIZER),
        groups=8,
    ),
    _Model(
        *("llama3-8b", "Llama 3 8B", 32, 4096, 32, 14336, 8192, 512, 2, Layout(tp=2, cp=2)),
        (*_LLAMA3, *_UP_TO_13B),
        *(128255, _LLAMA3_TOKENIZER),
        groups=8,
    ),
    _Model(
        *("llama3-70b", "Llama 3 70B", 80, 8192, 64, 28672, 8192, 512, 8, Layout(tp=4, pp=4, cp=2)),
        (*_LLAMA3, *_OF_70B),
        *(128255, _LLAMA3_TOKENIZER),
        groups=8,
    ),
)


def _architecture(model: _Model) -> tuple[str, ...]:
    groups = ("--group-query-attention", f"--num-query-groups={model.groups}") if model.groups else ()
    return (
        *(f"--num-layers={model.layers}", f"--hidden-size={model.hidden}"),
        *(f"--ffn-hidden-size={model.ffn}", f"--num-attention-heads={model.heads}"),
        *groups,
        *(f"--seq-length={model.sequence}", f"--max-position-embeddings={model.sequence}"),
        *model.family,
    )


def _parallel(layout: Layout) -> tuple[str, ...]:
    """Return the options of a layout. Tensor-parallel ranks split the sequence too, outside of their layers."""
    return (
        f"--tensor-model-parallel-size={layout.tp}",
        *(["--sequence-parallel"] if layout.tp > 1 else []),
        f"--pipeline-model-parallel-size={layout.pp}",
        f"--context-parallel-size={layout.cp}",
        *("--use-distributed-optimizer", "--overlap-grad-reduce", "--overlap-param-gather"),
    )


def _synthetic(model: _Model) -> Preset:
    """Return the preset of a model on Megatron-LM's synthetic data. NullTokenizer adds one token to the vocabulary."""
    return Preset(
        name=model.name,
        description=f"{model.title}, sequences of {model.sequence} tokens, {model.batch} of them a step",
        arguments=(
            *_architecture(model),
            *_parallel(model.layout),
            *(f"--micro-batch-size={model.layout.micro_batch}", f"--global-batch-size={model.batch}"),
            *("--train-iters=1000", "--lr-decay-style=cosine", "--lr-warmup-iters=100", "--clip-grad=1.0"),
            *("--weight-decay=0.1", "--adam-beta1=0.9", "--adam-beta2=0.95", "--bf16"),
            *("--recompute-activations", "--attention-backend=auto", "--log-interval=1", "--log-throughput"),
            *("--eval-iters=0", "--save-interval=200", "--save-retain-interval=1000"),
            *("--mock-data", "--tokenizer-type=NullTokenizer", f"--vocab-size={model.vocabulary}"),
        ),
        instance_type=GPU,
        nodes=model.nodes,
        global_batch=model.batch,
        tokens_per_sample=model.sequence,
        # Transformer Engine has no bf16 below compute capability 8.0 ("Datatype and hardware support matrix").
        precision="bf16",
        layout=model.layout,
    )


def _on_text(model: _Model) -> Preset:
    """Return the preset of a model on text, which the stages fetch and tokenize."""
    preset = _synthetic(model)
    synthetic = {"--mock-data", "--tokenizer-type=NullTokenizer", f"--vocab-size={model.vocabulary}"}
    family = model.name.partition("-")[0]
    return replace(
        preset,
        name=f"{model.name}-oscar",
        description=f"{preset.description}, on OSCAR text",
        arguments=(
            *(word for word in preset.arguments if word not in synthetic),
            *model.tokenizer,
            f"--data-path={{TOKENS_FOLDER}}/{family}/{family}_text_document",
            "--split=98,2,0",
        ),
        stages=MappingProxyType(
            {
                "preprocess": (
                    *model.tokenizer,
                    *(
                        "--input={CORPUS_FOLDER}/oscar-1GB.jsonl",
                        f"--output-prefix={{TOKENS_FOLDER}}/{family}/{family}",
                    ),
                    *("--append-eod", "--workers=64"),
                )
            }
        ),
    )


_TINY = Preset(
    name="tiny",
    description="a GPT of two layers in seconds on two cores: 20 steps, a checkpoint every 10",
    arguments=(
        *("--num-layers=2", "--hidden-size=64", "--ffn-hidden-size=128", "--num-attention-heads=4"),
        *("--group-query-attention", "--num-query-groups=2"),
        *("--seq-length=64", "--max-position-embeddings=64", "--position-embedding-type=rope"),
        *(
            "--normalization=RMSNorm",
            "--swiglu",
            "--disable-bias-linear",
            "--untie-embeddings-and-output-weights",
        ),
        *("--attention-dropout=0.0", "--hidden-dropout=0.0"),
        *("--tensor-model-parallel-size=1", "--micro-batch-size=2", "--global-batch-size=8"),
        *("--train-iters=20", "--lr=1e-2", "--lr-decay-style=constant", "--lr-warmup-iters=2"),
        *("--weight-decay=0.1", "--log-interval=1", "--eval-iters=0", "--save-interval=10"),
        *("--mock-data", "--tokenizer-type=NullTokenizer", "--vocab-size=255"),
    ),
    instance_type=CPU,
    nodes=2,
    global_batch=8,
    tokens_per_sample=64,
    accelerators=("gpu", "cpu"),
    precision="fp32",
    layout=Layout(micro_batch=2),
)

_PRESETS = (*map(_synthetic, _MODELS), *map(_on_text, _MODELS), _TINY)
_OF_TEXT = tuple(preset.name for preset in _PRESETS if preset.stages)

_DOWNLOAD = Stage(
    name="download",
    title="fetches a gigabyte of OSCAR's English text, and the vocabulary of GPT-2",
    program=Program(path="download.py"),
    presets=_OF_TEXT,
    arguments=(f"--vocabulary-revision={hub_commits.GPT2}",),
    options="download",
)
_PREPROCESS = Stage(
    name="preprocess",
    title="tokenizes the text with Megatron-LM's tools/preprocess_data.py",
    program=Program(path="preprocess.py"),
    # Megatron-LM imports Transformer Engine, which NVIDIA's image has for GPUs.
    resources=Resources(("gpu",)),
    presets=_OF_TEXT,
    options="preprocess_options",
    shares=SharedOptions(
        same=(
            *(
                "--tokenizer-type",
                "--tokenizer-model",
                "--tokenizer-metadata",
                "--vocab-file",
                "--merge-file",
            ),
            *("--vocab-size", "--padded-vocab-size", "--vocab-extra-ids", "--trust-remote-code"),
            *("--tokenizer-special-tokens", "--tokenizer-sentencepiece-legacy"),
            *("--tokenizer-hf-use-fast", "--tokenizer-hf-no-use-fast"),
            *("--tokenizer-hf-include-special-tokens", "--tokenizer-hf-no-include-special-tokens"),
            *("--tiktoken-pattern", "--tiktoken-num-special-tokens", "--tiktoken-special-tokens"),
        ),
        # How often each of them tells its progress.
        own=("--log-interval",),
        several=("--tokenizer-special-tokens", "--tiktoken-special-tokens"),
    ),
)


def _captured(profile: Profile, ranks: int) -> tuple[str, ...]:
    """Return Megatron-LM's options for a capture by nsys, of core_v0.17.0 (megatron/training/training.py, train).

    It starts the capture when as many steps are done as its first number says, and stops when its second number is.
    """
    return _options(profile, ranks, profile.first - 1, profile.last)


def _traced(profile: Profile, ranks: int) -> tuple[str, ...]:
    """Return the options for torch's profiler, of core_v0.17.0 (megatron/training/training.py, train).

    Its schedule records the step of the first number and those before the second, counted from the start of the
    process, and writes when the next step begins. Traces are in `torch_profile` beside the folder of TensorBoard.
    """
    return (
        *_options(profile, ranks, profile.first, profile.last + 1),
        *("--use-pytorch-profiler", "--tensorboard-dir=$RUN_FOLDER/profile/tensorboard"),
    )


def _options(profile: Profile, ranks: int, start: int, end: int) -> tuple[str, ...]:
    return (
        *("--profile", f"--profile-step-start={start}", f"--profile-step-end={end}"),
        *("--profile-ranks", *map(str, profile.numbers(ranks))),
    )


WORKLOAD = Workload(
    name="megatron-lm",
    title="Pre-training of GPT-3, Llama 2 and Llama 3 by Megatron-LM (TP, PP, CP, DP)",
    launcher=Torchrun(),
    image=Image("ngc"),
    resources=Resources(accelerators=("gpu",), memory_gib_per_rank=32),
    presets=MappingProxyType({preset.name: preset for preset in _PRESETS}),
    proofs=MappingProxyType(
        {
            # NVIDIA's image has no hyperpodrun.
            **accepted(Format.SLURM, Format.PYTORCHJOB, Format.TRAINJOB, Format.JOBSET, Format.BATCH),
            Format.TRAINJOB: TINY_PODS,
            Format.LOCAL: TINY_RANKS,
        }
    ),
    progress=Progress(
        pattern=(
            r"iteration +(?P<step>[0-9]+)/ *[0-9]+ \| consumed samples: +(?P<consumed_samples>[0-9]+) \|"
            r".*? elapsed time per iteration \(ms\): (?P<milliseconds_per_step>[0-9.]+) \|"
            r"(?: throughput per GPU \(TFLOP/s/GPU\): (?P<tflops>[0-9.]+) \|)?"
            r".*? learning rate: (?P<learning_rate>[0-9.E+-]+) \|"
            # training_log leaves a loss out that is NaN. Its line ends with that word, which is read as the loss: in
            # bf16, whose scale is 1.0, always; in fp16 not where all were skipped while a scale is sought.
            r".*? (?:lm loss: |loss scale: 1\.0 \|.* number of (?=nan iterations: )"
            r"|number of (?=nan iterations: +[1-9]))"
            rf"(?P<loss>{number('[0-9][0-9.E+-]*')})"
            rf"(?:.*? grad norm: (?P<gradient_norm>{number('[0-9.]+')}) \|)?"
        ),
        # Kernels are compiled, and of real data the index of samples is made.
        start_seconds=1800,
        stall_seconds=900,
        printed_by=PrintedBy.LAST_RANK,
    ),
    environment=MappingProxyType({"CUDA_DEVICE_MAX_CONNECTIONS": "1"}),
    stages=(_DOWNLOAD, _PREPROCESS),
    assets=(
        Asset("corpus", "megatron-lm/corpus", "CORPUS_FOLDER", stage="download", required=True),
        Asset("tokens", "megatron-lm/tokens", "TOKENS_FOLDER", stage="preprocess", required=True),
    ),
    secrets=(Secret("huggingface", "HF_TOKEN"),),
    peak_precision="bf16",
    footprint=footprint,
    splits=splits,
    size_arguments=SizeArguments(
        tp="--tensor-model-parallel-size",
        pp="--pipeline-model-parallel-size",
        cp="--context-parallel-size",
        ep="--expert-model-parallel-size",
        micro_batch="--micro-batch-size",
        sequence=("--seq-length",),
        counts=MappingProxyType(
            dict.fromkeys(
                (
                    "--global-batch-size",
                    "--num-virtual-stages-per-pipeline-rank",
                    "--num-layers-per-virtual-pipeline-stage",
                ),
                (),
            )
        ),
        precision=MappingProxyType(
            {"--fp8-format": {"*": "fp8"}, "--bf16": {"*": "bf16"}, "--fp16": {"*": "fp16"}}
        ),
        default_precision="fp32",
    ),
    global_batch_argument="--global-batch-size",
    profilers=MappingProxyType({Profiler.TORCH: _traced, Profiler.NSYS: _captured}),
    options="megatron_options",
)
