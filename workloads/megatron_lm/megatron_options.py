"""The options of Megatron-LM's programs, by which the command checks a run's words before anything starts.

Their names and kinds are recorded in recorded_options.json, from the programs' own parsers at the commit of
megatron-lm.txt. On a node Megatron-LM reads them itself: it ends at a wrong one too, once all nodes have started.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from training.recorded_options import add_recorded

PRETRAIN, PREPROCESS = "pretrain_gpt.py", "tools/preprocess_data.py"

_OF_SAMPLES = ("train_samples", "lr_decay_samples", "lr_warmup_samples", "rampup_batch_size")
"""Options that Megatron-LM refuses beside `--train-iters` (`validate_args` of megatron/training/arguments.py)."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line of pretrain_gpt.py; argparse ends the program with 2 where it is wrong."""
    reader = parser(PRETRAIN)
    found = reader.parse_args(sys.argv[1:] if words is None else words)
    for name in _OF_SAMPLES:
        if getattr(found, name) is not None and found.train_iters and not found.skip_train:
            reader.error(
                f"argument --{name.replace('_', '-')}: Megatron-LM refuses it beside --train-iters, which every "
                "preset has"
            )
    return found


def parser(program: str) -> argparse.ArgumentParser:
    """Return a parser of the options of a program of Megatron-LM; an option that is not given is None."""
    made = argparse.ArgumentParser(
        prog=program,
        description=f"Options of Megatron-LM's {program} at {recorded()['tag']}; its own --help says what each does.",
        allow_abbrev=False,
    )
    add_recorded(made, recorded()["programs"][program]["options"])
    return made


@cache
def recorded() -> dict[str, Any]:
    """Return what was read from Megatron-LM's parsers."""
    file = Path(__file__).with_name("recorded_options.json")
    read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return read
