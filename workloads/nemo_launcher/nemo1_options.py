"""The options of train.py: a model of the launcher for NeMo 1, and values of its configuration in Hydra's own form.

    train.py --model=gpt3-5b trainer.max_steps=30 model.micro_batch_size=2 +model.gc_interval=10

Names are compared with those of recorded_options.json, read from the launcher's own files; Hydra judges the values when
the program starts. `+NAME=VALUE` adds a name, unchecked. On a node the program's folder is first on sys.path, so the
module's name is one that no library has.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from training.arguments import positive, span
from training.run_values import refusal

PILE_FILES = 30
"""The files of the Pile's training part."""

files = span(PILE_FILES)
"""Reads the numbers of files that a text names."""

_VALUE = re.compile(r"(?P<added>\+{0,2})(?P<name>[A-Za-z_]\w*(\.\w+)*)=.*", re.ASCII | re.DOTALL)

_OURS = (
    *("trainer.num_nodes", "trainer.devices", "exp_manager.explicit_log_dir"),
    "exp_manager.checkpoint_callback_params.model_parallel_size",
    *("model.tokenizer.model", "model.tokenizer.vocab_file", "model.tokenizer.merge_file"),
)
"""Names whose values follow from the run (`nemo1_launch.composition`)."""

_OF_THE_PILE = ("model.data.data_prefix",)
"""Names whose values follow from the run with `--data=pile`."""

_BATCH = ("model.global_batch_size",)
"""Names whose values follow from `--global-batch`."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line of train.py; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Pre-train a model of the launcher for NeMo 1.",
        epilog="NAME=VALUE sets a value of NeMo's configuration, as Hydra takes it: trainer.max_steps=30",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", default="gpt3-126m", choices=recorded()["files"], help="the model; default: gpt3-126m")
    add("--data", default="mock", choices=("mock", "pile"), help="tokens: NeMo's own, or those of the stage")
    add("--files", type=files, default="0-29", metavar="N-M", help="with --data=pile: the files of the Pile")
    add("--save", default="none", choices=("none", "validation"), help="when it saves; default: never")
    add("--global-batch", type=positive, metavar="N", help="sequences of a step over all ranks")
    add(
        "--program",
        default="nemo",
        choices=("nemo", "placeholder"),
        help="the program that trains: NeMo's, or a placeholder on processors that says that it is one",
    )
    add("--show", action="store_true", help="print the configuration and train nothing")
    add("values", nargs="*", metavar="NAME=VALUE", help="a value of NeMo's configuration")
    arguments = parser.parse_intermixed_args(words)
    names = _names(arguments.model)
    ours = (*_OURS, *(_OF_THE_PILE if arguments.data == "pile" else ()))
    for value in arguments.values:
        match = _VALUE.fullmatch(value)
        if match is None:
            parser.error(f"'{value}' is not NAME=VALUE")
        if problem := refusal(match["name"], ours, _BATCH):
            parser.error(problem)
        if not match["added"] and match["name"] not in names:
            parser.error(f"'{match['name']}' is no name of {arguments.model}; '+{value}' adds it")
    return arguments


@cache
def recorded() -> dict[str, Any]:
    """Return what was read from the launcher's files."""
    file = Path(__file__).with_name("recorded_options.json")
    read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return read


def _names(model: str) -> set[str]:
    """Return the names of a model's configuration."""
    return {*recorded()["common"], *recorded()["more"][model]}
