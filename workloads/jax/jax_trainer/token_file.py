"""Tokens of documents in one file, which every process maps into memory, and the order in which windows are read.

`tokens.bin` has the tokens one after the other, 2 bytes each (little endian), or 4 where a vocabulary has more than
65,536; `tokens.json` says how many and of which tokenizer, and has the file's SHA-256. A window is `length` + 1 tokens;
neighbours share one. Each epoch has an order of its own, a function of the seed and the epoch: any process finds any
sequence of any step by its number alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from training.errors import NO_INPUT, TrainingError

TOKENS, DESCRIPTION = "tokens.bin", "tokens.json"

_SMALL = 1 << 16
_ROUNDS = 4


def write(
    folder: Path, documents: Iterable[Sequence[int]], vocabulary: int, source: Mapping[str, Any]
) -> int:
    """Write the tokens of documents into a folder that is there, and return their number; `source` is described too."""
    kind = np.dtype("<u2" if vocabulary <= _SMALL else "<u4")
    digest, count = hashlib.sha256(), 0
    with (folder / TOKENS).open("wb") as file:
        for document in documents:
            content = np.asarray(document, kind).tobytes()
            file.write(content)
            digest.update(content)
            count += len(document)
    made = {"tokens": count, "bytes": kind.itemsize, "vocabulary": vocabulary, "sha256": digest.hexdigest()}
    description = {**made, **source}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    return count


class TokenFile:
    """Sequences of a token file; `identity` is its SHA-256, as the file's description has it."""

    def __init__(self, folder: Path, length: int, vocabulary: int, seed: int) -> None:
        """Map the file.

        Raises:
            TrainingError: it is not there or not whole, has less than a sequence, or tokens that the model lacks.
        """
        try:
            description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            kind = np.dtype({2: "<u2", 4: "<u4"}[description["bytes"]])
            self._tokens = np.memmap(folder / TOKENS, kind, mode="r")
            count, self.identity = int(description["tokens"]), str(description["sha256"])
            known = int(description["vocabulary"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"the tokens of '{folder}' cannot be read: {error}; the stage 'tokenize' makes them", NO_INPUT
            ) from error
        if len(self._tokens) != count:
            raise TrainingError(
                f"'{folder / TOKENS}' has {len(self._tokens)} tokens, and its description says {count}; run the stage "
                "'tokenize' again",
                NO_INPUT,
            )
        if known > vocabulary:
            raise TrainingError(
                f"the tokens of '{folder}' are of a vocabulary of {known}, the model's has {vocabulary}",
                NO_INPUT,
            )
        self.length, self._seed = length, seed
        self.windows = (count - 1) // length
        if self.windows < 1:
            raise TrainingError(
                f"'{folder / TOKENS}' has {count} tokens, and a sequence needs {length + 1}", NO_INPUT
            )

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Return the sequences of these numbers, from 0, with a token more than their length."""
        starts = self.places(numbers) * self.length
        return np.stack([self._tokens[start : start + self.length + 1] for start in starts]).astype(np.int32)

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Return which window each number is, from 0; a number past the last one belongs to a later epoch."""
        epochs, places = np.divmod(numbers.astype(np.int64), self.windows)
        found = np.empty_like(places)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            found[chosen] = shuffled(places[chosen], self.windows, (self._seed << 32) + int(epoch))
        return found


def shuffled(places: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return places below `count` in an order that looks random, without a list of them all.

    A Feistel network over the next even number of bits is a permutation; a place outside `count` is permuted again
    until it is inside (Black, Rogaway 2002, "Ciphers with Arbitrary Finite Domains", cycle walking).
    """
    half = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    found = places.astype(np.uint64)
    keys = mixed(np.arange(_ROUNDS, dtype=np.uint64) + np.uint64(seed * _ROUNDS))
    outside = np.ones(len(found), bool)
    while outside.any():
        left, right = found[outside] >> half, found[outside] & mask
        for key in keys:
            left, right = right, left ^ (mixed(right ^ key) & mask)
        found[outside] = (left << half) | right
        outside = found >= count
    return found.astype(np.int64)


def mixed(numbers: np.ndarray) -> np.ndarray:
    """Return 64 bits for each number that look random (splitmix64: Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        found = numbers * np.uint64(0x9E3779B97F4A7C15)
        found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return found ^ (found >> np.uint64(31))
