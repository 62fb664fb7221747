"""Options of the workload mosaicml-composer."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from composer_sizes import DIFFUSION, MPT
from training.arguments import count, positive, rate

RUN_NAME = "run"
"""Composer's name of the run, equal at each start: autoresume asks for one, and the folder is the run's already."""

SPLIT = "train"
"""The folder of the shards of training below a data set's, as llm-foundry's converters write it."""

LENGTH = "max_seq_len"
"""The key of `--set` for the tokens of a sample, which the stage `convert` gets as `--length`."""

_LENGTHS = ("model.max_seq_len", "train_loader.dataset.max_seq_len", "tokenizer.kwargs.model_max_length")
"""Keys of llm-foundry's configuration whose values follow from that one."""

_BATCH = "global_train_batch_size"
"""The key of llm-foundry's configuration whose value is that of `--global-batch`."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line."""

    model: str
    trainer: str
    data: str
    steps: int
    global_batch: int
    micro_batch: int
    learning_rate: float
    warmup: int
    save_every: int
    keep: int
    workers: int
    seed: int
    ema: bool
    set: list[str]

    @property
    def sequence(self) -> int:
        """The number of tokens of a sample of MPT: the last one that `--set max_seq_len=N` gives, else the model's."""
        given = [value for key, _, value in (each.partition("=") for each in self.set) if key == LENGTH]
        return int(given[-1]) if given else MPT[self.model].sequence


def options(words: list[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="train.py", description="Train MPT or Stable Diffusion 2 with Composer.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--model", choices=[*MPT, *DIFFUSION], required=True, help="the model and its size")
    add(
        "--trainer",
        choices=["llm-foundry", "composer"],
        default="llm-foundry",
        help="who trains MPT: llm-foundry (FSDP, flash attention), or Composer alone with the MPT of transformers "
        "(data-parallel). Stable Diffusion is always trained by Composer alone",
    )
    add(
        "--data",
        choices=["synthetic", "shards"],
        default="synthetic",
        help="shards that rank 0 writes, or those of C4_FOLDER (MPT) or LATENTS_FOLDER (Stable Diffusion)",
    )
    add("--steps", type=positive, default=1000, metavar="N", help="steps of the whole run (default 1000)")
    add("--global-batch", type=positive, required=True, metavar="N", help="samples of a step over all ranks")
    add("--micro-batch", type=positive, default=1, metavar="N", help="samples a rank computes at once (1)")
    add("--learning-rate", type=rate, default=1e-4, metavar="X", help="after the warm-up (default 1e-4)")
    add("--warmup", type=positive, default=100, metavar="N", help="steps of the warm-up (default 100)")
    add("--save-every", type=positive, default=200, metavar="N", help="steps between checkpoints (200)")
    add("--keep", type=positive, default=3, metavar="N", help="checkpoints that stay: the newest (default 3)")
    add(
        "--workers",
        type=count,
        default=8,
        metavar="N",
        help="processes of a rank that read data (default 8)",
    )
    add("--seed", type=count, default=17, metavar="N", help="seed of weights, noise and order (default 17)")
    add("--ema", action="store_true", help="keep an exponential moving average of Stable Diffusion's weights")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of llm-foundry's configuration, as 'fsdp_config.activation_checkpointing=false'",
    )
    chosen = Options(**vars(parser.parse_args(words)))
    if problem := _problem(chosen):
        parser.error(problem)
    return chosen


def _problem(chosen: Options) -> str:
    """Return what is wrong with options together; empty where nothing is."""
    if wrong := [each for each in chosen.set if not each.partition("=")[1]]:
        return f"--set {wrong[0]}: not KEY=VALUE"
    for key, _, value in (each.partition("=") for each in chosen.set):
        if key in _LENGTHS:
            return f"--set {key}: model, data and tokenizer have one length; give --set {LENGTH}=N"
        if key == _BATCH:
            return f"--set {key}: data and training have one batch; give --global-batch=N"
        if key == LENGTH and not (value.isascii() and value.isdecimal() and int(value)):
            return f"--set {key}={value}: a number of tokens from 1"
    if chosen.set and (chosen.trainer != "llm-foundry" or chosen.model in DIFFUSION):
        return "--set is for models that llm-foundry trains"
    if chosen.ema and chosen.model in MPT:
        return "--ema is for Stable Diffusion"
    if chosen.global_batch % chosen.micro_batch:
        return f"--global-batch {chosen.global_batch} is no multiple of --micro-batch {chosen.micro_batch}"
    return ""
