"""The options of bionemo's program: read by the program itself, and by the command before anything starts."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from esm2_trainer.sizes import SIZES
from training import arguments, non_finite

_DESCRIPTION = (
    "Pre-train ESM-2 from random weights on masked amino-acid sequences, data-parallel. RUN_FOLDER is where "
    "checkpoints and metrics go, and where the run continues from; PROTEINS_FOLDER has the data of --data proteins."
)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line. Those of `fixed` define the run and may not change on resume."""

    model: str
    sequence_length: int
    global_batch: int
    micro_batch: int
    steps: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    mask_share: float
    data: str
    seed: int
    precision: str
    compile: bool
    max_skipped_steps: int
    checkpoint_every: int
    keep: int
    log_every: int
    step_seconds: float
    threads: int
    device: str

    @property
    def fixed(self) -> dict[str, Any]:
        """The options that a checkpoint must agree with."""
        names = (
            *("model", "sequence_length", "global_batch", "learning_rate", "warmup_steps", "weight_decay"),
            *("mask_share", "data", "seed", "precision"),
        )
        return {name: getattr(self, name) for name in names}


def options(words: list[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(prog="train.py", description=_DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add("--model", choices=[*SIZES], default="650m", help="the size of ESM-2")
    add("--sequence-length", type=arguments.positive, default=1024, help="tokens of a sequence")
    add("--global-batch", type=arguments.positive, default=256, help="sequences of a step over all ranks")
    add("--micro-batch", type=arguments.positive, default=16, help="sequences of a rank at once")
    add("--steps", type=arguments.positive, default=1000, help="steps of the whole run")
    add("--learning-rate", type=arguments.rate, default=4e-4, help="the highest learning rate")
    add("--warmup-steps", type=arguments.count, default=2000, help="steps up to the highest learning rate")
    add("--weight-decay", type=arguments.weight, default=0.01, help="AdamW's weight decay of matrices")
    add("--mask-share", type=arguments.share, default=0.15, help="share of residues that are predicted")
    add("--data", choices=["synthetic", "proteins"], default="synthetic", help="what it trains on")
    add("--seed", type=arguments.seed, default=0, help="seed of weights, sequences and masks")
    add("--precision", choices=["bf16", "fp32"], default="bf16", help="arithmetic; weights are fp32")
    add("--compile", action="store_true", help="compile the model")
    add(
        "--max-skipped-steps",
        type=arguments.count,
        default=non_finite.MAX_SKIPPED,
        help="steps in a row whose update is left out because they are not finite; one more ends the run",
    )
    add("--checkpoint-every", type=arguments.positive, default=500, help="steps between checkpoints")
    add("--keep", type=arguments.positive, default=3, help="checkpoints that stay")
    add("--log-every", type=arguments.positive, default=10, help="steps between reports")
    add(
        "--step-seconds", type=arguments.seconds, default=0.0, help="least length of a step, to watch a fault"
    )
    add("--threads", type=arguments.positive, default=1, help="threads a rank; fixes the order of sums")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: GPUs if there are some")
    settings = Options(**vars(parser.parse_args(words)))
    if settings.sequence_length < 3:
        parser.error(f"argument --sequence-length: {settings.sequence_length} leaves no room for a residue")
    if not settings.mask_share:
        parser.error("argument --mask-share: 0 leaves nothing to predict")
    if settings.global_batch % settings.micro_batch:
        parser.error(
            f"argument --global-batch: {settings.global_batch} does not divide by --micro-batch {settings.micro_batch}"
        )
    return settings
