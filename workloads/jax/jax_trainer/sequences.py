"""The sequences that a run trains on, each a function of the seed and its number: any process makes any of any step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax_trainer.options import Options
from jax_trainer.token_file import TokenFile, mixed
from training.errors import NO_INPUT, TrainingError

FOLDER = "TOKENS_FOLDER"
"""The variable with the folder of the stage's tokens."""

_STARTS = 64
"""The number of first tokens and of differences: few, so that a small model learns them within some steps."""


class Source(Protocol):
    """Sequences by their number, from 0 and without end; `identity` says which data it is, for checkpoints."""

    length: int
    identity: str

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Return the sequences of these numbers, of shape (numbers, `length` + 1)."""


class Synthetic:
    """Arithmetic sequences of `length` + 1 tokens below `vocabulary`."""

    identity = "synthetic"

    def __init__(self, length: int, vocabulary: int, seed: int) -> None:
        self.length, self._vocabulary, self._seed = length, vocabulary, seed

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Return the sequences of these numbers."""
        drawn = mixed(numbers.astype(np.uint64) + np.uint64(self._seed << 40))
        few = np.uint64(min(_STARTS, self._vocabulary - 1))
        first = drawn % few
        difference = np.uint64(1) + (drawn >> np.uint64(32)) % few
        tokens = first[:, None] + difference[:, None] * np.arange(self.length + 1, dtype=np.uint64)
        return (tokens % np.uint64(self._vocabulary)).astype(np.int32)


def source(settings: Options) -> Source:
    """Return the sequences that the options name.

    Raises:
        TrainingError: as `TokenFile`; or the variable TOKENS_FOLDER is not set.
    """
    length, vocabulary, seed = settings.sequence_length, settings.configuration.vocabulary, settings.seed
    if settings.data == "synthetic":
        return Synthetic(length, vocabulary, seed)
    if not os.environ.get(FOLDER):
        raise TrainingError(f"the variable {FOLDER} is not set; it names the folder of the tokens", NO_INPUT)
    return TokenFile(Path(os.environ[FOLDER]), length, vocabulary, seed)


def global_batch(sequences: Source, step: int, batch: int, sharding: jax.sharding.Sharding) -> jax.Array:
    """Return the sequences of a step, from 1: a process makes those of its devices, and reads no others."""

    def part(index: tuple[slice, ...]) -> np.ndarray:
        rows = np.arange(batch)[index[0]] + (step - 1) * batch
        return sequences.take(rows)[:, index[1]]

    made: Any = jax.make_array_from_callback((batch, sequences.length + 1), sharding, part)
    return made
