"""Options of the command line; argparse ends the program with exit code 2 if one is wrong."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from typing import Any

from jax_trainer.models import MODELS, Model
from training import arguments

_FREE = ("model_parallel", "attention", "checkpoint_every", "keep", "log_every", "device")


@dataclass(frozen=True, slots=True)
class Options:
    """Every option of a run; the help of `options` describes each."""

    model: str
    steps: int
    global_batch: int
    sequence_length: int
    data: str
    seed: int
    learning_rate: float | None
    warmup_steps: int
    weight_decay: float
    clip: float
    precision: str
    model_parallel: int
    recompute: bool
    attention: str
    checkpoint_every: int
    keep: int
    log_every: int
    device: str

    @property
    def configuration(self) -> Model:
        """The model that is trained."""
        return MODELS[self.model]

    @property
    def peak_rate(self) -> float:
        """The learning rate at the end of the warm-up: the model's own by default."""
        return self.configuration.learning_rate if self.learning_rate is None else self.learning_rate

    def fixed(self) -> dict[str, Any]:
        """Return the options that define the run: a start that resumes it must have the same."""
        values = {**asdict(self), "learning_rate": self.peak_rate}
        return {name: value for name, value in values.items() if name not in _FREE}


def options(words: list[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Pre-train a causal language model in JAX on a mesh of data and model parallelism.",
        allow_abbrev=False,
    )
    _run(parser.add_argument_group("run"))
    _optimisation(parser.add_argument_group("optimisation"))
    _speed(parser.add_argument_group("parallelism and speed"))
    _watching(parser.add_argument_group("checkpoints and watching"))
    settings = Options(**vars(parser.parse_args(words)))
    heads = settings.configuration.heads
    if heads % settings.model_parallel:
        parser.error(
            f"--model-parallel {settings.model_parallel} does not divide the {heads} attention heads of --model "
            f"{settings.model}; {arguments.divisors(heads)} do"
        )
    return settings


def _run(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", choices=list(MODELS), default="tiny", help="which model (%(choices)s)", metavar="NAME")
    add(
        "--steps",
        type=arguments.positive,
        default=100,
        help="steps of the whole run; the schedule ends there",
    )
    add("--sequence-length", type=arguments.positive, default=128, help="tokens of a sequence")
    add(
        "--data",
        choices=["synthetic", "tokens"],
        default="synthetic",
        help="tokens: those of the stage 'tokenize'",
    )
    add("--seed", type=arguments.seed, default=0, help="seed of weights and data, below 2^20")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: GPUs if JAX sees some")


def _optimisation(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--global-batch", type=arguments.positive, default=8, help="sequences of a step over all processes")
    add("--learning-rate", type=arguments.rate, help="rate after the warm-up; the model's own by default")
    add("--warmup-steps", type=arguments.count, default=10, help="steps in which the rate grows from 0")
    add("--weight-decay", type=arguments.weight, default=1e-3, help="of matrices; norms have none")
    add("--clip", type=arguments.rate, default=1.0, help="highest norm of all gradients together")


def _speed(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--model-parallel",
        type=arguments.positive,
        default=1,
        help="devices that share heads, feed-forward layers and vocabulary; all others share weights and the batch",
    )
    add("--precision", choices=["bf16", "fp32"], default="bf16", help="of computing; weights are float32")
    add(
        "--recompute",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compute blocks again in the backward pass, and keep their inputs only",
    )
    add(
        "--attention",
        choices=["auto", "xla", "cudnn"],
        default="auto",
        help="kernel of attention; auto: cudnn's flash attention on GPUs in bf16, else XLA's",
    )


def _watching(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--checkpoint-every", type=arguments.positive, default=100, help="steps between checkpoints")
    add("--keep", type=arguments.positive, default=3, help="checkpoints that stay, the newest")
    add("--log-every", type=arguments.positive, default=10, help="steps between lines of progress")
