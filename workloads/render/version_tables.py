"""Tables of docs/versions.md: the pinned stack, the combinations that work together, the bounds between parts."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.versions import BOUNDS, COMBINATIONS, PINS, STACK


def stack() -> Iterator[str]:
    """Yield a row for each part of the stack, with its version and source."""
    yield from ("| part | version | source |", "| --- | --- | --- |")
    sources = {pin.name: pin.source for pin in PINS}
    for name, version in STACK.items():
        yield f"| {name} | {version} | {sources[name]} |"


def combinations() -> Iterator[str]:
    """Yield a row for each combination, with what its parts were built against."""
    yield from ("| group | versions | source |", "| --- | --- | --- |")
    for row in COMBINATIONS:
        listed = [f"{part} {version}" for part, version in row.versions.items()]
        for part, others in row.built_against.items():
            listed += [f"{part} built against {other} {version}" for other, version in others.items()]
        yield f"| {row.group} | {', '.join(listed)} | {row.source} |"


def bounds() -> Iterator[str]:
    """Yield a row for each bound."""
    yield from ("| with | must be | at most tried | source |", "| --- | --- | --- | --- |")
    for bound in BOUNDS:
        series = f"{bound.part} {bound.series}" if bound.series else bound.part
        yield f"| {series} | {bound.other} {bound.least} or newer | {bound.newest or '-'} | {bound.source} |"
