"""Masked sequences by index, without end: synthetic proteins, or those of a file.

A sequence and its mask are functions of the seed and the index alone: a position in the data is one number, and any
rank can take any sequence.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import torch
from esm2_trainer import proteins
from esm2_trainer.sizes import CLS, EOS, MASK, PAD, RESIDUES, UNKNOWN, VOCABULARY
from training.errors import NO_INPUT, TrainingError

IGNORED = -100
"""The label of tokens that are not predicted: torch's cross entropy leaves it out."""

_MASKED, _REPLACED = 0.8, 0.9
"""Of the residues that are predicted 80 % are masked, 10 % are another residue, and 10 % stay as they are."""

_MOTIF = (4, 12)

_NUMBERS = torch.full((256,), UNKNOWN)
for _number, _token in enumerate(VOCABULARY):
    if len(_token) == 1:
        _NUMBERS[ord(_token)] = _number


class Source(Protocol):
    """Sequences of residues, as numbers of the vocabulary, by index and without end."""

    def take(self, index: int, most: int, generator: torch.Generator) -> torch.Tensor:
        """Return at most `most` residues of a sequence."""


class Synthetic:
    """Repetitions of a random motif, each `most` residues long: what is masked can be read beside it."""

    def take(self, index: int, most: int, generator: torch.Generator) -> torch.Tensor:  # noqa: ARG002 its number is in the generator
        """Return the residues of a sequence."""
        length = int(torch.randint(_MOTIF[0], _MOTIF[1] + 1, (), generator=generator))
        motif = torch.randint(RESIDUES.start, RESIDUES.stop, (length,), generator=generator)
        return motif.repeat(most // length + 1)[:most]


class FromFile:
    """The proteins of a folder, shuffled anew each epoch; of one that is too long a random part."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Open the files.

        Raises:
            TrainingError: they are not there, or not whole. Exit code 66.
        """
        try:
            self._proteins = proteins.Proteins(folder)
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"no proteins in '{folder}': {error}; the stage 'download' makes them", NO_INPUT
            ) from error
        self._seed = seed
        self._epoch: tuple[int, int, int] = (-1, 0, 0)

    def take(self, index: int, most: int, generator: torch.Generator) -> torch.Tensor:
        """Return the residues of a sequence."""
        count = len(self._proteins)
        letters = self._proteins[self._place(index // count, index % count)]
        spare = len(letters) - most
        first = int(torch.randint(spare + 1, (), generator=generator)) if spare > 0 else 0
        return _NUMBERS[torch.frombuffer(bytearray(letters[first : first + most]), dtype=torch.uint8).long()]

    def _place(self, epoch: int, position: int) -> int:
        """Return the number of the sequence at a position of an epoch.

        A Feistel network is a permutation that needs no table: files of any number of sequences are shuffled
        without an order in memory. A place beyond the last sequence is permuted once more.
        """
        count = len(self._proteins)
        half = max(1, ((count - 1).bit_length() + 1) // 2)
        low = (1 << half) - 1
        place = position
        while True:
            left, right = place >> half, place & low
            for turn in range(4):
                left, right = right, left ^ (mixed(self._seed, epoch, turn, right) & low)
            place = left << half | right
            if place < count:
                return place


class Sequences:
    """Batches of masked sequences of `length` tokens, from a source."""

    def __init__(self, source: Source, *, length: int, share: float, seed: int) -> None:
        self._source = source
        self._length, self._share, self._seed = length, share, seed
        self._generator = torch.Generator()

    def take(self, indices: range) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens of these sequences, and the labels of those that are predicted."""
        tokens = torch.full((len(indices), self._length), PAD)
        labels = torch.full_like(tokens, IGNORED)
        for row, index in enumerate(indices):
            self._generator.manual_seed(mixed(self._seed, index))
            residues = self._source.take(index, self._length - 2, self._generator)
            end = len(residues) + 1
            tokens[row, 0], tokens[row, end] = CLS, EOS
            tokens[row, 1:end], labels[row, 1:end] = self._masked(residues)
        return tokens, labels

    def _masked(self, residues: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return residues with some hidden, and what they were; at least one of each sequence is predicted."""
        count = len(residues)
        predicted = torch.randperm(count, generator=self._generator)[: max(1, round(self._share * count))]
        labels = torch.full_like(residues, IGNORED)
        labels[predicted] = residues[predicted]
        chance = torch.rand(len(predicted), generator=self._generator)
        others = torch.randint(RESIDUES.start, RESIDUES.stop, (len(predicted),), generator=self._generator)
        put = torch.where(
            chance < _MASKED, MASK, torch.where(chance < _REPLACED, others, residues[predicted])
        )
        hidden = residues.clone()
        hidden[predicted] = put
        return hidden, labels


def mixed(*numbers: int) -> int:
    """Return 32 bits that depend on all numbers: torch's CPU generator takes no more of a seed (mt19937)."""
    digest = hashlib.blake2b("/".join(map(str, numbers)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
