"""The names that a misspelt one probably means."""

from __future__ import annotations

from collections.abc import Iterable

_COMPARED = 60
"""Characters of a name that are compared: one with thousands must not take minutes."""


def nearest(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.6) -> tuple[str, ...]:
    """Return up to `count` known names that look most like `name`, best first; empty where nothing does."""
    # Not at the top: most commands misspell nothing, and start sooner without it.
    import difflib

    return tuple(difflib.get_close_matches(name[:_COMPARED], list(known), n=count, cutoff=cutoff))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return what to add to a message about an unknown name: the nearest that is known, or nothing."""
    return suggestion(nearest(name, known, 1))


def suggestion(near: Iterable[str]) -> str:
    """Return what to add to a message: these names are probably meant; nothing without any."""
    names = " or ".join(f"'{name}'" for name in near)
    return f" (did you mean {names}?)" if names else ""
