"""The options of train.py: its own, and values of BioNeMo's configuration in Hydra's form.

    train.py --data=uniref50 --global-batch=8192 model.micro_batch_size=256 trainer.max_steps=1000000

BioNeMo is in its image alone, so names are compared with those of esm1nv_launch/options.json, which says what they were
read from. Hydra judges the values when the program starts. On a node the program's folder is first on sys.path, so the
module's name is one that no library has.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from training.arguments import positive
from training.run_values import refusal

PROGRAMS = ("bionemo", "placeholder")
DATA = ("synthetic", "uniref50")

_VALUE = re.compile(r"(?P<add>\+{0,2})(?P<name>[A-Za-z_]\w*(?:\.\w+)*)=.*", re.ASCII | re.DOTALL)

_OURS = (
    *("trainer.num_nodes", "trainer.devices", "exp_manager.exp_dir", "cluster_type"),
    *("model.data.dataset_path", "model.data.index_mapping_dir"),
)
"""Names whose values follow from the run."""

_BATCH = ("trainer.accumulate_grad_batches",)
"""Names whose values follow from `--global-batch`."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line of train.py; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Pre-train ESM-1nv with BioNeMo's own program.",
        epilog="NAME=VALUE sets a value of BioNeMo's configuration pretrain_small; ++NAME=VALUE adds one.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--program", choices=PROGRAMS, default="bionemo", help="placeholder: a program for processors")
    add("--data", choices=DATA, default="synthetic", help="the proteins that a stage made")
    add("--global-batch", type=positive, metavar="N", help="sequences of a step over all ranks")
    add("values", nargs="*", metavar="NAME=VALUE", help="a value of BioNeMo's configuration")
    settings = parser.parse_intermixed_args(sys.argv[1:] if words is None else words)
    for value in settings.values:
        match = _VALUE.fullmatch(value)
        if match is None:
            parser.error(f"'{value}' is not NAME=VALUE")
        name = match["name"]
        if problem := refusal(name, _OURS, _BATCH):
            parser.error(problem)
        if not match["add"] and name not in names():
            parser.error(f"BioNeMo's configuration has no '{name}'; ++{value} would add it")
    return settings


@cache
def names() -> dict[str, Any]:
    """Return the names of BioNeMo's configuration with the values that were recorded, else None."""
    file = Path(__file__).parent / "esm1nv_launch" / "options.json"
    recorded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["names"]
    return recorded
