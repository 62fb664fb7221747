"""Kinds of numbers on a command line, each refusing what it is not in words; argparse ends the program with 2."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return the reader of a whole number between bounds, which belong to it."""

    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdecimal() else -1
        if number < least or (most is not None and number > most):
            bounds = f"from {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number {bounds}")
        return number

    return read


positive = whole(1)
"""Reads a whole number from 1."""

count = whole(0)
"""Reads a whole number from 0."""

seed = whole(0, (1 << 20) - 1)
"""Reads a whole number from 0 and below 2^20, which leaves room for an index beside it in 64 bits."""

_SPAN = re.compile(r"(?P<first>[0-9]{1,9})(-(?P<last>[0-9]{1,9}))?", re.ASCII)


def span(size: int) -> Callable[[str], tuple[int, ...]]:
    """Return the reader of numbers below `size`, one or a range: `7` or `0-29`."""

    def read(text: str) -> tuple[int, ...]:
        match = _SPAN.fullmatch(text)
        if match is None:
            raise argparse.ArgumentTypeError(f"'{text}' is no number and no range such as 0-{size - 1}")
        first = int(match["first"])
        last = int(match["last"] or first)
        if not first <= last < size:
            raise argparse.ArgumentTypeError(f"'{text}' is not in 0-{size - 1}")
        return tuple(range(first, last + 1))

    return read


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


def weight(text: str) -> float:
    """Return a finite number from 0."""
    value = _number(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0")
    return value


def share(text: str) -> float:
    """Return a number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return value


def divisors(*numbers: int) -> str:
    """Return the whole numbers that divide all of these, as a message lists them."""
    most = math.gcd(*numbers)
    return ", ".join(str(size) for size in range(1, most + 1) if most % size == 0)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
