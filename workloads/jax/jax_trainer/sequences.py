"""Synthetic sequences, each a function of the seed and its number: any process makes any sequence of any step."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

_STARTS = 64
"""The number of first tokens and of differences: few, so that a small model learns them within some steps."""


def sequences(numbers: np.ndarray, length: int, vocabulary: int, seed: int) -> np.ndarray:
    """Return arithmetic sequences of `length` tokens below `vocabulary`, one for each number."""
    drawn = _mixed(numbers.astype(np.uint64) + np.uint64(seed << 40))
    few = np.uint64(min(_STARTS, vocabulary - 1))
    first = drawn % few
    difference = np.uint64(1) + (drawn >> np.uint64(32)) % few
    tokens = first[:, None] + difference[:, None] * np.arange(length, dtype=np.uint64)
    return (tokens % np.uint64(vocabulary)).astype(np.int32)


def global_batch(
    step: int, batch: int, length: int, vocabulary: int, seed: int, sharding: jax.sharding.Sharding
) -> jax.Array:
    """Return the sequences of a step, from 1, with a token more than `length`: a process makes those of its devices."""

    def part(index: tuple[slice, ...]) -> np.ndarray:
        rows = np.arange(batch)[index[0]] + (step - 1) * batch
        return sequences(rows, length + 1, vocabulary, seed)[:, index[1]]

    made: Any = jax.make_array_from_callback((batch, length + 1), sharding, part)
    return made


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Return 64 bits for each number that look random (splitmix64: Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
