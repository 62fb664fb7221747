"""Synthetic sequences, each a function of the seed and its number alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def sequence(number: int, *, length: int, vocabulary: int, seed: int) -> torch.Tensor:
    """Return an arithmetic sequence of `length` + 1 tokens, which a model learns within some steps."""
    generator = torch.Generator().manual_seed((seed << 40) + number)
    first, step = torch.randint(1, min(64, vocabulary), (2,), generator=generator)
    return (first + step * torch.arange(length + 1)) % vocabulary


def batch(numbers: Sequence[int], *, length: int, vocabulary: int, seed: int) -> torch.Tensor:
    """Return sequences as rows."""
    return torch.stack(
        [sequence(number, length=length, vocabulary=vocabulary, seed=seed) for number in numbers]
    )
