"""The options of torchtitan, by which the command checks a run's words before anything starts.

Their names and kinds are recorded in recorded_options.json, from torchtitan's own configuration; a test compares them
with the package. On a node torchtitan reads them itself. As it does, `-` stands for `_` in a name, and `no_` before the
last part of a flag's name takes it back.
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

_OTHERS = ("--job.custom_config_module", "--job.config_file")
"""Options of files that may bring options of their own."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line of torchtitan; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description=f"Options of torchtitan {recorded()['version']}; its own --help says what each does.",
        allow_abbrev=False,
    )
    known = recorded()["options"]
    add_recorded(parser, known)
    add_recorded(parser, {_taken_back(name): kind for name, kind in known.items() if kind == "flag"})
    given = [_with_underscores(word) for word in (sys.argv[1:] if words is None else words)]
    if any(word.partition("=")[0] in _OTHERS for word in given):
        return argparse.Namespace()
    return parser.parse_args(given)


def _with_underscores(word: str) -> str:
    """Return a word with the name of its option as it is recorded."""
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _taken_back(name: str) -> str:
    section, _, last = name.rpartition(".")
    return f"{section}.no_{last}"


@cache
def recorded() -> dict[str, Any]:
    """Return what was read from torchtitan's configuration."""
    file = Path(__file__).with_name("recorded_options.json")
    read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return read
