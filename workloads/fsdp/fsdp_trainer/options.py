"""Options of the command line; argparse ends the program with exit code 2 if one is wrong."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fsdp_trainer.configuration import ModelConfiguration
from fsdp_trainer.presets import MODELS
from training import arguments
from training.non_finite import MAX_SKIPPED

_FIXED = (
    *("model", "sequence_length", "global_batch", "steps", "warmup_steps", "learning_rate", "minimum_rate"),
    *("weight_decay", "clip", "seed", "data", "dataset", "tokenizer", "document_mask", "precision", "float8"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """Every option of a run; the help of `options` describes each."""

    model: str
    steps: int
    global_batch: int
    micro_batch: int
    sequence_length: int
    seed: int
    learning_rate: float | None
    minimum_rate: float
    warmup_steps: int
    weight_decay: float
    clip: float
    max_skipped_steps: int
    data: str
    dataset: str
    tokenizer: str
    document_mask: bool
    validate_every: int
    validation_batches: int
    precision: str
    float8: bool
    compile: bool
    deterministic: bool
    recompute: str
    offload_activations: bool
    offload_parameters: bool
    replicas: int
    checkpoint_every: int
    keep: int
    synchronous_save: bool
    log_every: int
    peak_tflops: float | None
    step_seconds: float
    threads: int
    device: str

    @property
    def configuration(self) -> ModelConfiguration:
        """The model that is trained."""
        return MODELS[self.model]

    @property
    def peak_rate(self) -> float:
        """The learning rate at the end of the warm-up: the model's own unless one was given."""
        return self.configuration.learning_rate if self.learning_rate is None else self.learning_rate

    def fixed(self) -> dict[str, Any]:
        """Return the options that define the run: a checkpoint must have the same to be resumed."""
        given = asdict(self)
        return {**{name: given[name] for name in _FIXED}, "learning_rate": self.peak_rate}


def options(words: list[str] | None = None) -> Options:
    """Read the command line."""
    reader = parser()
    return checked(reader, vars(reader.parse_args(words)))


def parser() -> argparse.ArgumentParser:
    """Return the parser of all options; a program that has more adds them."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Pre-train a causal language model, sharded over all ranks (FSDP2).",
        allow_abbrev=False,
    )
    _run(parser.add_argument_group("run"))
    _optimisation(parser.add_argument_group("optimisation"))
    _data(parser.add_argument_group("data"))
    _memory(parser.add_argument_group("memory and speed"))
    _watching(parser.add_argument_group("checkpoints and watching"))
    return parser


def checked(parser: argparse.ArgumentParser, values: Mapping[str, Any]) -> Options:
    """Return the options of values that the parser has read; it ends the program if some do not go together."""
    chosen = Options(**values)
    _check(parser, chosen)
    return chosen


def _run(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", choices=list(MODELS), default="tiny", help="which model (%(choices)s)", metavar="NAME")
    add(
        "--steps",
        type=arguments.positive,
        default=100,
        help="steps of the whole run; the schedule ends there",
    )
    add("--seed", type=arguments.seed, default=0, help="seed of weights and data, below 2^20")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: GPUs if there are some")
    add("--threads", type=arguments.positive, default=1, help="threads of a rank's operations")


def _optimisation(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--global-batch", type=arguments.positive, default=8, help="sequences of a step over all ranks")
    add("--micro-batch", type=arguments.positive, default=1, help="sequences of one pass of a rank")
    add("--learning-rate", type=arguments.rate, help="rate after the warm-up; the model's own unless given")
    add("--minimum-rate", type=arguments.share, default=0.1, help="last rate as a share of the highest")
    add("--warmup-steps", type=arguments.count, default=10, help="steps in which the rate grows from 0")
    add("--weight-decay", type=arguments.weight, default=0.1, help="of matrices; norms have none")
    add("--clip", type=arguments.rate, default=1.0, help="highest norm of all gradients together")
    add(
        "--max-skipped-steps",
        type=arguments.count,
        default=MAX_SKIPPED,
        help="steps in a row whose update is left out because they are not finite; one more ends the run",
    )


def _data(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--data", choices=["synthetic", "stream"], default="synthetic", help="stream: --dataset, as it trains"
    )
    add("--dataset", default="allenai/c4:en", metavar="NAME[@COMMIT][:CONFIGURATION]", help="of the hub")
    add(
        "--tokenizer",
        default="",
        metavar="NAME[@COMMIT]|FILE",
        help="of the hub, or a tokenizer.json; for --data stream",
    )
    add(
        "--sequence-length", type=arguments.positive, default=128, help="tokens of a sequence, all trained on"
    )
    add(
        "--document-mask",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="tokens see their own document only; without, all before them, which lets the fastest kernels run",
    )
    add("--validate-every", type=arguments.count, default=0, help="steps between validations; 0: none")
    add("--validation-batches", type=arguments.positive, default=2, help="global batches of a validation")


def _memory(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    switch = argparse.BooleanOptionalAction
    add(
        "--precision",
        choices=["bf16", "fp32"],
        default="bf16",
        help="of computing; sums and weights are fp32",
    )
    add(
        "--float8",
        action=switch,
        default=False,
        help="products of matrices in float8; needs torchao, H100 on",
    )
    add(
        "--deterministic",
        action=switch,
        default=False,
        help="on GPUs: only operations that give equal bits each time; slower",
    )
    add("--compile", action=switch, default=False, help="torch.compile for each block")
    add(
        "--recompute",
        choices=["none", "selective", "full"],
        default="none",
        help="activations computed again in the backward pass: none, all but products of matrices, all",
    )
    add("--offload-activations", action=switch, default=False, help="keep activations in the host's memory")
    add(
        "--offload-parameters",
        action=switch,
        default=False,
        help="keep shards and optimizer in the host's memory",
    )
    add(
        "--replicas",
        type=arguments.positive,
        default=1,
        help="copies of the model, each over a part of the ranks",
    )


def _watching(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--checkpoint-every", type=arguments.positive, default=100, help="steps between checkpoints")
    add("--keep", type=arguments.positive, default=3, help="checkpoints that stay")
    add(
        "--synchronous-save",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="wait for each checkpoint instead of training on while it is written",
    )
    add("--log-every", type=arguments.positive, default=10, help="steps between reports")
    add("--peak-tflops", type=arguments.rate, help="peak of a rank's accelerator, to report MFU against")
    add(
        "--step-seconds", type=arguments.seconds, default=0.0, help="least length of a step, to watch a fault"
    )


def _check(parser: argparse.ArgumentParser, chosen: Options) -> None:
    """Refuse what does not go together, all at once."""
    wrong = []
    if chosen.sequence_length > chosen.configuration.context:
        wrong.append(
            f"--sequence-length {chosen.sequence_length} is longer than the context of {chosen.model}, "
            f"{chosen.configuration.context} tokens"
        )
    if chosen.warmup_steps >= chosen.steps:
        wrong.append(f"--warmup-steps {chosen.warmup_steps} must be fewer than --steps {chosen.steps}")
    if chosen.data == "stream" and not chosen.tokenizer:
        wrong.append("--data stream needs --tokenizer")
    if chosen.data == "synthetic" and chosen.tokenizer:
        wrong.append("--tokenizer is for --data stream; synthetic data are tokens already")
    if chosen.offload_activations and chosen.recompute == "full":
        wrong.append("--offload-activations has nothing left to keep with --recompute full; choose one")
    if wrong:
        parser.error("; ".join(wrong))
