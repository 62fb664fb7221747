"""MPT for Composer alone: the model of transformers with weights of its own, and its data."""

from __future__ import annotations

from typing import Any

import torch
from composer import ComposerModel
from composer_sizes import MptSize
from streaming import StreamingDataset
from transformers import MptConfig, MptForCausalLM


class Sequences(StreamingDataset):
    """The tokens of MDS shards, as many as the model takes."""

    def __init__(self, length: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._length = length

    def __getitem__(self, at: int) -> torch.Tensor:
        """Return a sequence."""
        return torch.from_numpy(super().__getitem__(at)["tokens"][: self._length].copy()).long()


class Mpt(ComposerModel):
    """The MPT of transformers with weights of its own."""

    def __init__(self, size: MptSize) -> None:
        super().__init__()
        self._size = size
        self.model = MptForCausalLM(
            MptConfig(
                d_model=size.width,
                n_heads=size.heads,
                n_layers=size.layers,
                max_seq_len=size.sequence,
                vocab_size=size.vocabulary,
                use_cache=False,
            )
        )

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the logits of sequences."""
        logits: torch.Tensor = self.model(input_ids=batch).logits
        return logits

    def loss(self, outputs: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of each next token."""
        return torch.nn.functional.cross_entropy(outputs[:, :-1].flatten(0, 1), batch[:, 1:].flatten())

    def flops_per_batch(self, batch: torch.Tensor) -> float:
        """Return the operations of a batch by llm-foundry's formula: its weights, and attention, forward and back."""
        weights = 2 * sum(each.numel() for each in self.parameters()) * batch.shape[1]
        attention = self._size.layers * 4 * self._size.width * batch.shape[1] ** 2
        return 3.0 * (weights + attention) * batch.shape[0]
