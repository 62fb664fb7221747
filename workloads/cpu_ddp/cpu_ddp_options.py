"""The options of cpu-ddp's program: read by the program itself, and by the command before anything starts.

On a node the program's folder is first on sys.path, so the module's name is one that no library has.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from training import arguments, non_finite

_DESCRIPTION = (
    "Train a small perceptron on 28 by 28 images, data-parallel. RUN_FOLDER is where checkpoints and metrics go, and "
    "where the run continues from; DATA_FOLDER may hold MNIST's idx files."
)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line. Those of `fixed` define the run and may not change on resume."""

    steps: int
    global_batch: int
    hidden: int
    learning_rate: float
    seed: int
    data: str
    max_skipped_steps: int
    checkpoint_every: int
    keep: int
    log_every: int
    step_seconds: float
    threads: int
    device: str
    mlflow: str

    def fixed(self, data: str) -> dict[str, Any]:
        """Return what a checkpoint must agree with; `data` is the kind of samples that was chosen."""
        return {
            "global_batch": self.global_batch,
            "hidden": self.hidden,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "data": data,
        }


def options(words: list[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(prog="train.py", description=_DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add("--steps", type=arguments.positive, default=500, help="steps of the whole run")
    add("--global-batch", type=arguments.positive, default=256, help="samples of a step over all ranks")
    add("--hidden", type=arguments.positive, default=512, help="width of the two hidden layers")
    add("--learning-rate", type=arguments.rate, default=1e-3, help="Adam's learning rate")
    add("--seed", type=arguments.seed, default=0, help="seed of weights and samples, below 2^20")
    add("--data", choices=["auto", "synthetic", "mnist"], default="auto", help="auto: MNIST if it is there")
    add(
        "--max-skipped-steps",
        type=arguments.count,
        default=non_finite.MAX_SKIPPED,
        help="steps in a row whose update is left out because they are not finite; one more ends the run",
    )
    add("--checkpoint-every", type=arguments.positive, default=100, help="steps between checkpoints")
    add("--keep", type=arguments.positive, default=3, help="checkpoints that stay")
    add("--log-every", type=arguments.positive, default=10, help="steps between reports")
    add(
        "--step-seconds", type=arguments.seconds, default=0.0, help="least length of a step, to watch a fault"
    )
    add("--threads", type=arguments.positive, default=1, help="threads a rank; fixes the order of sums")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: GPUs if there are some")
    add("--mlflow", default="", metavar="URI", help="tracking server; needs the package mlflow")
    return Options(**vars(parser.parse_args(words)))
