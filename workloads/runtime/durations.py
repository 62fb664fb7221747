"""Durations in seconds that a variable of the run can change."""

from __future__ import annotations

from collections.abc import Mapping


def seconds(environment: Mapping[str, str], name: str, default: int, *, least: int = 1) -> int:
    """Return the whole number of seconds that a variable gives, or the default where it is not set.

    Raises:
        ValueError: the variable is no whole number, or less than `least`.
    """
    value = environment.get(name, "")
    if not value:
        return default
    if not (value.isascii() and value.isdecimal() and int(value) >= least):
        raise ValueError(f"{name} is '{value}'; it must be a whole number of seconds from {least}")
    return int(value)
