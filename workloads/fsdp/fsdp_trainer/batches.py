"""Batches of a step: sequences of one length, cut from documents that are packed one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from fsdp_trainer.decoder import IGNORED

Position = Mapping[str, str]
"""Positions of sources in their data, by the name of a stream, as a checkpoint holds it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences: tokens, the token that follows each, and the number of each token's document, from 0.

    All are (sequences, length) and int64. `documents` is None where documents are not separated.
    """

    tokens: torch.Tensor
    targets: torch.Tensor
    documents: torch.Tensor | None

    def passes(self, size: int, device: torch.device) -> Iterator[Batch]:
        """Yield the batch in parts of `size` sequences, on a device."""
        for first in range(0, len(self.tokens), size):
            rows = slice(first, first + size)
            yield Batch(
                self.tokens[rows].to(device),
                self.targets[rows].to(device),
                None if self.documents is None else self.documents[rows].to(device),
            )


class Source(Protocol):
    """A source of batches; a step's batch is the same for any number of ranks, each of which takes its part."""

    kind: str

    def take(self, step: int) -> Batch:
        """Return this rank's sequences of a step, from 1. Steps are taken in order."""

    def position(self) -> Position:
        """Return where this rank's streams are, after the last step taken."""

    def names(self) -> list[str]:
        """Return the names of this rank's streams."""

    def restore(self, position: Position) -> None:
        """Continue from a position; it names every stream of this rank."""


def part(global_batch: int, rank: int, count: int) -> range:
    """Return which of a step's sequences, from 0, a rank takes: neighbours, so that streams stay with one rank."""
    size = global_batch // count
    return range(rank * size, (rank + 1) * size)


def batch(windows: torch.Tensor, numbers: torch.Tensor, *, masked: bool) -> Batch:
    """Make a batch of windows of length + 1 tokens, and the numbers of their documents.

    With `masked`, documents are separated: no token attends across the border of two.
    """
    targets = windows[:, 1:].clone()
    if not masked:
        return Batch(windows[:, :-1].contiguous(), targets, None)
    targets[numbers[:, 1:] != numbers[:, :-1]] = IGNORED
    return Batch(windows[:, :-1].contiguous(), targets, numbers[:, :-1].contiguous())


class Packing:
    """Documents that wait to be cut into windows of `length` + 1 tokens; neighbours share a token.

    Nothing is thrown away and nothing is padded: each token but a stream's first is once a target.
    """

    def __init__(self, length: int, waiting: list[list[int]] | None = None) -> None:
        self.length = length
        self.waiting = [] if waiting is None else waiting
        self._count = sum(len(document) for document in self.waiting)

    @property
    def ready(self) -> bool:
        """True if a window can be cut."""
        return self._count > self.length

    def add(self, document: list[int]) -> None:
        """Put a document behind those that wait; an empty one is left out."""
        if document:
            self.waiting.append(document)
            self._count += len(document)

    def cut(self) -> tuple[list[int], list[int]]:
        """Return the next window's tokens, and each token's document, numbered from 0 in this window."""
        assert self.ready
        tokens: list[int] = []
        numbers: list[int] = []
        for number, document in enumerate(self.waiting):
            taken = document[: self.length + 1 - len(tokens)]
            tokens += taken
            numbers += [number] * len(taken)
            if len(tokens) > self.length:
                break
        self._drop(self.length)
        return tokens, numbers

    def _drop(self, count: int) -> None:
        self._count -= count
        while count >= len(self.waiting[0]):
            count -= len(self.waiting.pop(0))
        self.waiting[0] = self.waiting[0][count:]
