"""Kinds of numbers on a command line, each refusing what it is not in words; argparse ends the program with 2."""

from __future__ import annotations

import argparse
import math


def positive(text: str) -> int:
    """Return a whole number from 1."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


def seed(text: str) -> int:
    """Return a whole number from 0 and below 2^20, which leaves room for an index beside it in 64 bits."""
    if not (text.isascii() and text.isdecimal()) or int(text) >= 1 << 20:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 to {(1 << 20) - 1}")
    return int(text)


def rate(text: str) -> float:
    """Return a finite number above 0."""
    value = _number(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def seconds(text: str) -> float:
    """Return a finite number from 0."""
    value = _number(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds from 0")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
