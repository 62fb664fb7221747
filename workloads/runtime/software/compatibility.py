"""The lock as nodes and images have it, and the judgement whether versions are its, or at least work together.

`lock.json` is generated from the catalog (workloads/software_lock.py): the pinned versions of the stack, the
combinations that a source names, and the bounds between parts of different groups.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_LOCK = Path(__file__).with_name("lock.json")
_NUMBERS = re.compile(r"[^\d]{0,2}(\d+(?:\.\d+)*)", re.ASCII)
_SHORT = {"CUDA": 2, "GDRCopy": 2}
"""Parts that name their version by fewer numbers in some places: torch its CUDA, GDRCopy its library."""

IMAGE = "image"
NODE = "node"
EVERYWHERE = frozenset((IMAGE, NODE))
"""Scopes of parts: those that an image brings, those of the node under it, and both."""


def lock() -> dict[str, Any]:
    """Return the lock: `parts`, `combinations` and `bounds`, as workloads/software_lock.py writes them."""
    found: dict[str, Any] = json.loads(_LOCK.read_text(encoding="utf-8"))
    return found


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version without trailing zeros: 2 and 4 of `2.4.0amzn3.0`; empty for no version."""
    return _first(version, None)


def _first(version: str, count: int | None) -> tuple[int, ...]:
    """Return as many numbers of a version, without trailing zeros."""
    found = _NUMBERS.match(version.strip())
    values = [int(number) for number in found[1].split(".")[:count]] if found else []
    while values and values[-1] == 0:
        values.pop()
    return tuple(values)


def equal(part: str, first: str, second: str) -> bool:
    """Return whether two versions of a part are the same: by their numbers, or the first two for parts in _SHORT."""
    count = _SHORT.get(part)
    return _first(first, count) == _first(second, count)


def differences(stack: Mapping[str, str], scopes: frozenset[str] = EVERYWHERE) -> Iterator[str]:
    """Yield the name of each part of these scopes whose version is not the lock's; a part that is absent is none."""
    for name, pinned in lock()["parts"].items():
        if pinned["scope"] in scopes and name in stack and not equal(name, stack[name], pinned["version"]):
            yield name


def problems(stack: Mapping[str, str], scopes: frozenset[str] = EVERYWHERE) -> Iterator[str]:
    """Yield a sentence for each group of parts that no source says to work together, and each bound that is broken.

    Parts that are absent, and parts that the lock does not know, are left out. Of a group the parts of these scopes
    count: an image runs on nodes that others made. Bounds count for all.
    """
    known = lock()
    parts = known["parts"]
    rows: dict[str, list[Mapping[str, str]]] = {}
    for row in known["combinations"]:
        rows.setdefault(row["group"], []).append(row["versions"])
    for group, choices in rows.items():
        given = {name: stack[name] for name in choices[0] if name in stack and parts[name]["scope"] in scopes}
        if len(given) > 1 and not any(
            all(equal(name, version, row[name]) for name, version in given.items()) for row in choices
        ):
            listed = ", ".join(f"{name} {version}" for name, version in given.items())
            yield f"{group}: no source says that {listed} work together; {_choices(given, choices)}"
    for bound in known["bounds"]:
        yield from _broken(bound, stack)


def _choices(given: Mapping[str, str], rows: list[Mapping[str, str]]) -> str:
    """Return what the table has instead, beginning with the first of the parts."""
    shown = "; ".join(" with ".join(f"{name} {row[name]}" for name in given) for row in rows)
    return f"the lock has {shown}"


def _broken(bound: Mapping[str, str], stack: Mapping[str, str]) -> Iterator[str]:
    part, other = bound["part"], bound["other"]
    if part not in stack or other not in stack:
        return
    series = numbers(bound["series"])
    if numbers(stack[part])[: len(series)] != series:
        return
    has = f"{part} {stack[part]} and {other} {stack[other]}"
    if numbers(stack[other]) < numbers(bound["least"]):
        yield f"{has}: {other} must be {bound['least']} or newer ({bound['source']})"
    elif bound["newest"] and numbers(stack[other])[:2] > numbers(bound["newest"]):
        yield f"{has}: {other} is newer than {bound['newest']}, the newest that was tried ({bound['source']})"
