"""A causal language model in plain torch: the decoder of Llama, Mistral and Mixtral."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from fsdp_trainer import rotary
from fsdp_trainer.attention import Visible, attention_output, packs, visible
from fsdp_trainer.configuration import ModelConfiguration
from fsdp_trainer.feed_forward import ExpertLayer, Output, SwiGLU
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

IGNORED = -100
"""A target that no loss is taken of: the first token of a document, as seen from the one before."""

LOSS_TOKENS = 4096
"""Tokens whose logits are in memory at once: with a vocabulary of 128256 in float32, 2 GiB."""

Contexts = Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]


class Attention(nn.Module):
    """Grouped-query attention: each key-value head serves several query heads (Ainslie et al., GQA, 2023)."""

    def __init__(self, model: ModelConfiguration) -> None:
        super().__init__()
        self.head = model.head
        self.query = nn.Linear(model.width, model.heads * model.head, bias=False)
        self.key = nn.Linear(model.width, model.key_value_heads * model.head, bias=False)
        self.value = nn.Linear(model.width, model.key_value_heads * model.head, bias=False)
        self.output = nn.Linear(model.heads * model.head, model.width, bias=False)

    def forward(
        self, hidden: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, seen: Visible
    ) -> torch.Tensor:
        """Return the attention's output, (batch, sequence, width) as `hidden`; `seen` is the mask."""
        batch, length, _ = hidden.shape
        query = self.query(hidden).view(batch, length, -1, self.head)
        key = self.key(hidden).view(batch, length, -1, self.head)
        value = self.value(hidden).view(batch, length, -1, self.head)
        found = attention_output(
            rotary.turned(query, cosines, sines), rotary.turned(key, cosines, sines), value, seen
        )
        return self.output(found.reshape(batch, length, -1))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and feed-forward, each on the normed stream and added to it.

    `recompute` is what the backward pass computes again instead of keeping: nothing when False; `contexts`
    narrows it to some operations. Doing it in here keeps parameters' names what they are, and inside of what
    gathers a sharded block's parameters.
    """

    def __init__(self, model: ModelConfiguration) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(model.width, eps=model.norm_epsilon)
        self.attention = Attention(model)
        self.feed_forward_norm = nn.RMSNorm(model.width, eps=model.norm_epsilon)
        self.feed_forward = SwiGLU(model) if model.experts is None else ExpertLayer(model, model.experts)
        self.recompute = False
        self.contexts: Contexts | None = None

    def forward(
        self, hidden: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, seen: Visible
    ) -> Output:
        """Return the stream after this block, and its balance loss."""
        if not (self.recompute and torch.is_grad_enabled()):
            return self._compute(hidden, cosines, sines, seen)
        options: dict[str, Any] = {"context_fn": self.contexts} if self.contexts else {}
        found: Output = checkpoint(
            self._compute,
            hidden,
            cosines,
            sines,
            seen,
            use_reentrant=False,
            # Nothing in a block draws random numbers.
            preserve_rng_state=False,
            **options,
        )
        return found

    def _compute(
        self, hidden: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, seen: Visible
    ) -> Output:
        hidden = hidden + self.attention(self.attention_norm(hidden), cosines, sines, seen)
        change, balance = self.feed_forward(self.feed_forward_norm(hidden))
        return hidden + change, balance


class Decoder(nn.Module):
    """The whole model, from tokens to losses.

    The rotary tables are no parameters and no buffers: they come from `reset_tables`, on the device that
    computes, after the parameters have got there from the meta device.
    """

    def __init__(self, model: ModelConfiguration) -> None:
        super().__init__()
        self.model = model
        self.embedding = nn.Embedding(model.vocabulary, model.width)
        self.blocks = nn.ModuleList(Block(model) for _ in range(model.layers))
        self.norm = nn.RMSNorm(model.width, eps=model.norm_epsilon)
        self.output = None if model.tied else nn.Linear(model.width, model.vocabulary, bias=False)
        self._tables: rotary.Tables | None = None

    def reset_tables(self, positions: int, device: torch.device) -> None:
        """Compute the rotary tables of so many positions."""
        cosines, sines = rotary.tables(self.model, positions)
        self._tables = (cosines.to(device), sines.to(device))

    def forward(
        self, tokens: torch.Tensor, targets: torch.Tensor, documents: torch.Tensor | None = None
    ) -> Output:
        """Return the summed loss of all targets but the ignored, and the summed balance loss: float32 scalars.

        All are (batch, sequence), whole numbers. `documents` numbers the document of each token from 0 on:
        tokens see only their own document, and positions begin with it. None: a sequence is one document.
        """
        assert self._tables is not None, "reset_tables comes first"
        cosines, sines = self._tables
        hidden = self.embedding(tokens)
        seen = Visible()
        if documents is None:
            cosines, sines = cosines[: tokens.shape[1]], sines[: tokens.shape[1]]
        else:
            seen = visible(documents, packed=packs(hidden, self.model.head))
            places = positions(documents)
            cosines, sines = cosines[places], sines[places]
        balance = torch.zeros((), device=tokens.device)
        for block in self.blocks:
            hidden, share = block(hidden, cosines, sines, seen)
            balance = balance + share
        return self._loss(self.norm(hidden), targets), balance

    def _loss(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the summed loss, a chunk of tokens after the other: logits are larger than all the rest."""
        rows, labels = hidden.flatten(0, 1), targets.flatten()
        chunks = [
            (rows[first : first + LOSS_TOKENS], labels[first : first + LOSS_TOKENS])
            for first in range(0, len(labels), LOSS_TOKENS)
        ]
        if len(chunks) == 1 or not torch.is_grad_enabled():
            return torch.stack([self._chunk_loss(*chunk) for chunk in chunks]).sum()
        losses = [
            checkpoint(self._chunk_loss, *chunk, use_reentrant=False, preserve_rng_state=False)
            for chunk in chunks
        ]
        return torch.stack(losses).sum()

    def _chunk_loss(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        weight = self.embedding.weight if self.output is None else self.output.weight
        logits = functional.linear(hidden, weight)
        return functional.cross_entropy(logits.float(), targets, reduction="sum", ignore_index=IGNORED)


def positions(documents: torch.Tensor) -> torch.Tensor:
    """Return each token's place in its document, (batch, sequence)."""
    places = torch.arange(documents.shape[1], device=documents.device)
    begins = torch.zeros_like(documents)
    begins[:, 1:] = torch.where(documents[:, 1:] != documents[:, :-1], places[1:], 0)
    return places - begins.cummax(dim=1).values
