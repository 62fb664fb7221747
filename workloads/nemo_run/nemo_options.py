"""The options of train.py: a recipe of NeMo 2, and values of its configuration in NeMo-Run's own form.

    train.py --recipe=llama31_8b --task=pretrain trainer.max_steps=1000 trainer.strategy.context_parallel_size=2

NeMo is in its image alone, so names are compared with those of recorded_options.json, which says what it was read from.
NeMo-Run judges the values when the program starts. On a node the program's folder is first on sys.path, so the
module's name is one that no library has.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from training.arguments import positive
from training.run_values import refusal

PLACEHOLDER = "placeholder"
"""The recipe that takes the place of NeMo's on machines without a GPU."""

TOKENS_FOLDER = "NEMO_TOKENS"
"""The variable with the folder of the stage `tokens`."""

TOKENS, TOKENIZER = "text_document", "tokenizer"
"""The name of the tokens without .bin and .idx, and the folder of the tokenizer's files, in the stage's folder."""

TASKS = ("pretrain", "finetune")
ADAPTERS = ("lora", "dora", "none")

_VALUE = re.compile(r"(?P<place>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)=.*", re.ASCII | re.DOTALL)

_OURS = ("trainer.num_nodes", "trainer.devices", "log.log_dir", "log.name", "log.explicit_log_dir")
"""Places whose values follow from the run (`nemo_launch.recipes`)."""

_OF_TOKENS = ("data.paths", "data.index_mapping_dir")
"""Places whose values follow from the run with `--data=tokens` (`nemo_launch.text_data`)."""

_BATCH = ("data.global_batch_size",)
"""Places whose values follow from `--global-batch`."""

_PLACEHOLDER_NAMES: Mapping[str, Sequence[str]] = {
    "": ("data", "log", "model", "optim", "trainer"),
    "data": ("global_batch_size", "micro_batch_size", "seq_length"),
    "log": ("ckpt", "log_dir"),
    "log.ckpt": ("every_n_train_steps",),
    "model": ("hidden_size", "vocabulary"),
    "optim": ("lr", "momentum"),
    "trainer": ("max_steps", "pause"),
}


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line of train.py; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Train by a recipe of NeMo 2.",
        epilog="PLACE=VALUE sets a value of the recipe, as `nemo llm pretrain` takes it: trainer.max_steps=1000",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--recipe",
        default=PLACEHOLDER,
        choices=(*_recorded()["recipes"], PLACEHOLDER),
        help="the recipe's name",
    )
    add("--task", default="pretrain", choices=TASKS, help="pre-train, or fine-tune from the stage's weights")
    add(
        "--data",
        default="mock",
        choices=("mock", "tokens"),
        help="of a pre-training: NeMo's own, or those of the stage 'tokens'",
    )
    add("--adapter", default="lora", choices=ADAPTERS, help="what a fine-tuning trains; none: all weights")
    add("--global-batch", type=positive, metavar="N", help="sequences of a step over all ranks")
    add("--stragglers", type=positive, metavar="SECONDS", help="report slow GPUs so often; default: never")
    add(
        "--heartbeats",
        action="store_true",
        help="tell nvidia-resiliency-ext's ft_launcher that the rank is alive; it must have started the program",
    )
    add("values", nargs="*", metavar="PLACE=VALUE", help="a value of the recipe's configuration")
    arguments = parser.parse_intermixed_args(words)
    if arguments.recipe != PLACEHOLDER and arguments.task not in _recorded()["recipes"][arguments.recipe]:
        parser.error(f"the recipe '{arguments.recipe}' does not {arguments.task}")
    if arguments.data == "tokens" and (arguments.task != "pretrain" or arguments.recipe == PLACEHOLDER):
        parser.error("--data=tokens is for pre-training by a recipe of NeMo")
    names = _names(arguments)
    ours = (*_OURS, *(_OF_TOKENS if arguments.data == "tokens" else ()))
    for value in arguments.values:
        match = _VALUE.fullmatch(value)
        if match is None:
            parser.error(f"'{value}' is not PLACE=VALUE")
        if problem := refusal(match["place"], ours, _BATCH) or _problem(match["place"], names):
            parser.error(problem)
    return arguments


def values(arguments: argparse.Namespace) -> list[str]:
    """Return the values for NeMo-Run; the last of two for one place counts."""
    batch = [] if arguments.global_batch is None else [f"data.global_batch_size={arguments.global_batch}"]
    return [*arguments.values, *batch]


def _problem(place: str, names: Mapping[str, Sequence[str]]) -> str:
    """Return what is wrong with the place of a value; empty where nothing is. Deeper places are NeMo-Run's to judge."""
    parts = place.split(".")
    for length, name in enumerate(parts):
        group = ".".join(parts[:length])
        if group not in names:
            break
        if name not in names[group]:
            return f"'{place}': {group or 'the recipe'} has no '{name}'"
    return ""


def _names(arguments: argparse.Namespace) -> Mapping[str, Sequence[str]]:
    """Return the names of a recipe's configuration by the place that holds them."""
    if arguments.recipe == PLACEHOLDER:
        return _PLACEHOLDER_NAMES
    recorded = _recorded()["names"]
    of_task = {}
    for group, by_task in recorded["by_task"].items():
        kind = f"{arguments.task} {arguments.data}"
        if found := by_task.get(kind, by_task.get(arguments.task)):
            of_task[group] = found
    return {**recorded["common"], **of_task}


@cache
def _recorded() -> dict[str, Any]:
    file = Path(__file__).with_name("recorded_options.json")
    recorded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return recorded
