"""A causal language model in plain torch: the decoder of Llama, Mistral and Mixtral."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from fsdp_trainer import rotary
from fsdp_trainer.configuration import ModelConfiguration
from fsdp_trainer.feed_forward import ExpertLayer, Output, SwiGLU
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

IGNORED = -100
"""A target that no loss is taken of: the first token of a document, as seen from the one before."""

LOSS_TOKENS = 4096
"""How many tokens' logits are in memory at once: with a vocabulary of 128256 in float32, 2 GiB."""

Contexts = Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]


class Attention(nn.Module):
    """Grouped-query attention: each key-value head serves several query heads (Ainslie et al., GQA, 2023)."""

    def __init__(self, model: ModelConfiguration) -> None:
        super().__init__()
        self.head = model.head
        self.grouped = model.heads != model.key_value_heads
        self.query = nn.Linear(model.width, model.heads * model.head, bias=False)
        self.key = nn.Linear(model.width, model.key_value_heads * model.head, bias=False)
        self.value = nn.Linear(model.width, model.key_value_heads * model.head, bias=False)
        self.output = nn.Linear(model.heads * model.head, model.width, bias=False)

    def forward(
        self, hidden: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the attention's output. `mask` says who sees whom; None: each token sees all before it."""
        batch, length, _ = hidden.shape
        query = self.query(hidden).view(batch, length, -1, self.head)
        key = self.key(hidden).view(batch, length, -1, self.head)
        value = self.value(hidden).view(batch, length, -1, self.head)
        seen = functional.scaled_dot_product_attention(
            rotary.turned(query, cosines, sines).transpose(1, 2),
            rotary.turned(key, cosines, sines).transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=self.grouped,
        )
        return self.output(seen.transpose(1, 2).reshape(batch, length, -1))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and feed-forward, each on the normed stream and added to it.

    `recompute` says what the backward pass computes again instead of keeping: nothing when False; `contexts`
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
        self, hidden: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, mask: torch.Tensor | None
    ) -> Output:
        """Return the stream after this block, and its balance loss."""
        if not (self.recompute and torch.is_grad_enabled()):
            return self._compute(hidden, cosines, sines, mask)
        options: dict[str, Any] = {"context_fn": self.contexts} if self.contexts else {}
        found: Output = checkpoint(
            self._compute,
            hidden,
            cosines,
            sines,
            mask,
            use_reentrant=False,
            # Nothing in a block draws random numbers.
            preserve_rng_state=False,
            **options,
        )
        return found

    def _compute(
        self, hidden: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, mask: torch.Tensor | None
    ) -> Output:
        hidden = hidden + self.attention(self.attention_norm(hidden), cosines, sines, mask)
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
        mask = None
        if documents is None:
            cosines, sines = cosines[: tokens.shape[1]], sines[: tokens.shape[1]]
        else:
            mask, positions = boundaries(documents)
            cosines, sines = cosines[positions], sines[positions]
        hidden = self.embedding(tokens)
        balance = torch.zeros((), device=tokens.device)
        for block in self.blocks:
            hidden, share = block(hidden, cosines, sines, mask)
            balance = balance + share
        return self._loss(self.norm(hidden), targets), balance

    def _loss(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the summed loss, a chunk of tokens after the other: logits are larger than all the rest."""
        rows, wanted = hidden.flatten(0, 1), targets.flatten()
        chunks = [
            (rows[first : first + LOSS_TOKENS], wanted[first : first + LOSS_TOKENS])
            for first in range(0, len(wanted), LOSS_TOKENS)
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


def boundaries(documents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return who sees whom, (batch, 1, sequence, sequence), and each token's place in its document."""
    length = documents.shape[1]
    places = torch.arange(length, device=documents.device)
    same = documents[:, :, None] == documents[:, None, :]
    mask = same & (places[:, None] >= places[None, :])
    begins = torch.zeros_like(documents)
    begins[:, 1:] = torch.where(documents[:, 1:] != documents[:, :-1], places[1:], 0)
    return mask[:, None], places - begins.cummax(dim=1).values
