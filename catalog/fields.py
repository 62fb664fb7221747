"""Notes on fields of the catalog's types: bounds and forms of values, and what a configuration does not write there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a number, both allowed."""

    ge: float
    le: float


@dataclass(frozen=True, slots=True)
class MinLength:
    """The least number of characters of a text, or of entries."""

    min_length: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """The regular expression that a text matches."""

    pattern: str


class Given(Enum):
    """The source of a field's value where the configuration does not write it among the others."""

    BY_KEY = "it is the key of the mapping around it"
    BY_DEFAULT = "it may be absent, and another part of the configuration has the default"


KEY = Given.BY_KEY
COMPLETED = Given.BY_DEFAULT
