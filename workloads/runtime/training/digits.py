"""Images of 28 by 28 with ten classes, by index and without end: synthetic ones, or MNIST's.

A sample is a function of the seed and its index alone, so that a position in the data is one number, and any rank
can take any sample.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import torch

from training import idx

CLASSES = idx.CLASSES
PIXELS = idx.SIDE * idx.SIDE
Batch = tuple[torch.Tensor, torch.Tensor]


class Samples(Protocol):
    """Samples by index, without end."""

    kind: str

    def take(self, indices: range) -> Batch:
        """Return images of shape (n, 784) and classes of shape (n)."""


class Synthetic:
    """Ten random prototypes with noise: as separable as digits are, and made from an index alone."""

    kind = "synthetic"

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator = torch.Generator()
        self._generator.manual_seed(seed)
        self._prototypes = torch.randn(CLASSES, PIXELS, generator=self._generator)

    def take(self, indices: range) -> Batch:
        """Return the samples of these indices."""
        noise = torch.empty(len(indices), PIXELS)
        classes = torch.empty(len(indices), dtype=torch.long)
        for row, index in enumerate(indices):
            self._generator.manual_seed(_mixed(self._seed, index + 1))
            classes[row] = torch.randint(CLASSES, (), generator=self._generator)
            torch.randn(PIXELS, generator=self._generator, out=noise[row])
        return self._prototypes[classes] + 2 * noise, classes


class Mnist:
    """MNIST, shuffled anew each epoch by the seed and the epoch's number."""

    kind = "mnist"

    def __init__(self, folder: Path, seed: int) -> None:
        self._images, self._labels = idx.read(folder)
        self._seed = seed
        self._epoch: tuple[int, torch.Tensor] = (-1, torch.empty(0))

    def take(self, indices: range) -> Batch:
        """Return the samples of these indices; an index past the last belongs to a later epoch."""
        count = len(self._labels)
        chosen = torch.stack([self._order(index // count)[index % count] for index in indices])
        return self._images[chosen].float() / 255, self._labels[chosen]

    def _order(self, epoch: int) -> torch.Tensor:
        if self._epoch[0] != epoch:
            generator = torch.Generator()
            generator.manual_seed(_mixed(self._seed, epoch))
            self._epoch = (epoch, torch.randperm(len(self._labels), generator=generator))
        return self._epoch[1]


def _mixed(seed: int, number: int) -> int:
    """Return 32 bits that depend on both: torch's CPU generator takes no more of a seed (mt19937)."""
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
