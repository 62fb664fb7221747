"""Construct ids from the names of things: PascalCase, as all ids are."""

from __future__ import annotations


def pascal(name: str) -> str:
    """Return a name of words with dashes as one word: `spare-gpu` is `SpareGpu`.

    A dash before a digit leaves no trace; the check `pool-names-alike` keeps two such pools apart.
    """
    return "".join(word.capitalize() for word in name.split("-"))
