"""The names of the series that a PromQL query reads."""

from __future__ import annotations

import re
from collections.abc import Iterator

_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_SELECTOR = re.compile(r"\{[^}]*\}")
_RANGE = re.compile(r"\[[^\]]*\]")
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_WORD = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")
_KEYWORDS = frozenset(
    {
        "and",
        "or",
        "unless",
        "bool",
        "offset",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "Inf",
        "NaN",
    }
)
_DURATION = re.compile(r"\boffset\s+\d+[smhdwy]\b")


def series_of(expression: str) -> frozenset[str]:
    """Return the names of the series of a query: words that are neither functions, keywords nor labels.

    Queries name series by their names alone, never by the label `__name__`.
    """
    return frozenset(_names(expression))


def _names(expression: str) -> Iterator[str]:
    bare = expression
    for pattern, replacement in (
        (_STRING, '""'),
        (_SELECTOR, ""),
        (_RANGE, ""),
        (_LABELS, ""),
        (_DURATION, ""),
    ):
        bare = pattern.sub(replacement, bare)
    for word in _WORD.findall(bare):
        if word not in _KEYWORDS:
            yield word
