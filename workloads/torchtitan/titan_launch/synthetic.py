"""torchtitan's Llama 3 on synthetic sequences, each a function of the seed and its number alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.config import JobConfig
from torchtitan.models.llama3 import get_train_spec
from torchtitan.protocols.train_spec import register_train_spec

MODEL = "llama3_synthetic"
"""The name for `--model.name`; its flavors are those of llama3."""

Batch = tuple[dict[str, torch.Tensor], torch.Tensor]


class SyntheticData(BaseDataLoader):
    """Batches of arithmetic sequences, which a model learns within some steps.

    A batch is `batch` sequences of `length` tokens below `vocabulary`, and the same shifted by one. The data-parallel
    ranks take the sequences in turn, so each of them sees other ones. The state is the number of the next batch: a
    resumed run continues with the sequences that an uninterrupted one would have seen.
    """

    def __init__(self, *, rank: int, ranks: int, batch: int, length: int, vocabulary: int, seed: int) -> None:
        self._rank, self._ranks = rank, ranks
        self._batch, self._length, self._vocabulary = batch, length, vocabulary
        self._seed = seed
        self._next = 0

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches without end, from the state on."""
        while True:
            first = (self._next * self._ranks + self._rank) * self._batch
            self._next += 1
            tokens = torch.stack([self._sequence(first + row) for row in range(self._batch)])
            yield {"input": tokens[:, :-1].contiguous()}, tokens[:, 1:].contiguous()

    def _sequence(self, number: int) -> torch.Tensor:
        """Return a sequence of `length` + 1 tokens."""
        generator = torch.Generator().manual_seed((self._seed << 40) + number)
        first, step = torch.randint(1, min(64, self._vocabulary), (2,), generator=generator)
        return (first + step * torch.arange(self._length + 1)) % self._vocabulary

    def state_dict(self) -> dict[str, Any]:
        """Return the number of the next batch, equal on all ranks."""
        return {"next": self._next}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with a batch."""
        self._next = state_dict["next"]


def _loader(dp_world_size: int, dp_rank: int, tokenizer: None, job_config: JobConfig) -> SyntheticData:  # noqa: ARG001
    """Return the data of a rank, as torchtitan asks for it."""
    model = get_train_spec().model_args[job_config.model.flavor]
    return SyntheticData(
        rank=dp_rank,
        ranks=dp_world_size,
        batch=job_config.training.local_batch_size,
        length=job_config.training.seq_len,
        vocabulary=model.vocab_size,
        seed=job_config.debug.seed or 0,
    )


def register() -> None:
    """Let torchtitan know Llama 3 on synthetic data."""
    specification = replace(get_train_spec(), build_tokenizer_fn=None, build_dataloader_fn=_loader)
    register_train_spec(MODEL, specification)
