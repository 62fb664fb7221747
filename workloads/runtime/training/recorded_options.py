"""Options of a program that is not here, recorded by name and kind from its own parser.

A kind is `flag`, `int`, `float` or `text`, a list of the values that an option takes, or `{"several": KIND}` for an
option with more words than one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

_TYPES: Mapping[str, type] = {"int": int, "float": float, "text": str}


def add_recorded(parser: argparse.ArgumentParser, options: Mapping[str, Any]) -> None:
    """Add recorded options to a parser; one that is not given is None there."""
    for name, kind in options.items():
        if name not in ("-h", "--help"):
            parser.add_argument(name, default=None, **_how(kind))


def _how(kind: str | list[Any] | dict[str, Any]) -> dict[str, Any]:
    """Return how argparse takes an option of a recorded kind."""
    if isinstance(kind, dict):
        return {"nargs": "+", **_how(kind["several"])}
    if isinstance(kind, list):
        return {"choices": kind, "type": type(kind[0])}
    return {"action": "store_true"} if kind == "flag" else {"type": _TYPES[kind]}
