"""Endless synthetic text: documents in which each token is the one before plus a stride that the model must learn.

A sequence is a function of the seed and its index alone; the indices of a step are a function of the step. So the
position in the data is the step itself, and any rank can make any sequence.
"""

from __future__ import annotations

import random

import torch
from fsdp_trainer.batches import Batch, Position, batch, part
from fsdp_trainer.options import Options
from training.process_group import Ranks

_STRIDES = 4
_MIN_LENGTH = 8
_VALIDATION = 1 << 39
"""First index of validation: beyond what training reaches."""


class Synthetic:
    """This rank's part of the synthetic sequences."""

    kind = "synthetic"

    def __init__(self, chosen: Options, ranks: Ranks, *, validation: bool = False) -> None:
        self._chosen = chosen
        self._part = part(chosen.global_batch, ranks.rank, ranks.count)
        self._first = _VALIDATION if validation else 0

    def take(self, step: int) -> Batch:
        """Return this rank's sequences of a step, from 1."""
        start = (step - 1) * self._chosen.global_batch
        made = [self._sequence(start + index) for index in self._part]
        windows, numbers = (torch.stack(column) for column in zip(*made, strict=True))
        return batch(windows, numbers, masked=self._chosen.document_mask)

    def position(self) -> Position:
        """Return nothing: the step determines the batch."""
        return {}

    def names(self) -> list[str]:
        """Return nothing: there are no streams."""
        return []

    def restore(self, position: Position) -> None:
        """Do nothing: the step determines the batch."""

    def _sequence(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens and document numbers: documents with a start, a stride and a length of their own."""
        length = self._chosen.sequence_length + 1
        vocabulary = self._chosen.configuration.vocabulary
        # Python's generator takes the whole number; torch's on a processor looks at its last 32 bits alone.
        drawn = random.Random((self._chosen.seed << 40) + self._first + index)  # noqa: S311
        longest = max(_MIN_LENGTH + 1, length // 2)
        pieces: list[torch.Tensor] = []
        lengths: list[int] = []
        while sum(lengths) < length:
            start, stride = drawn.randrange(vocabulary), drawn.randint(1, _STRIDES)
            lengths.append(min(drawn.randint(_MIN_LENGTH, longest), length - sum(lengths)))
            pieces.append((start + stride * torch.arange(lengths[-1])) % vocabulary)
        numbers = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
        return torch.cat(pieces), numbers
