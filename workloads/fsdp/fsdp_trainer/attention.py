"""Attention within documents: by the kernel for packed sequences where there is one, else with a mask.

Flash attention takes no mask, and grouped-query attention works with flash attention and the plain products alone
(torch's documentation of scaled_dot_product_attention). With both, what is left computes all scores of all heads in
memory, gigabytes a layer at 8192 tokens. torch's `varlen_attn` is flash attention with the positions where documents
begin. It exists from torch 2.10 on, its options differ by version (2.10 has `is_causal`, later ones `window_size`, 2.13
`enable_gqa` too), and it needs a GPU of compute capability 8.0 and numbers of 16 bits.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn import functional

_MAX_HEAD_WIDTH = 256
"""Numbers of a head that flash attention takes at most (its README, "Features")."""


class Kernel(NamedTuple):
    """The kernel for packed sequences: the function, its options for a causal mask, and whether it groups queries."""

    call: Callable[..., torch.Tensor]
    causal: dict[str, Any]
    groups: bool


def kernel_of(call: Callable[..., torch.Tensor]) -> Kernel:
    """Return a kernel, by the options that its function has."""
    options = inspect.signature(call).parameters
    causal: dict[str, Any] = {"is_causal": True} if "is_causal" in options else {"window_size": (-1, 0)}
    return Kernel(call, causal, "enable_gqa" in options)


def installed() -> Kernel | None:
    """Return the kernel of the installed torch, or None. Its module takes a third of a second to import."""
    try:
        return kernel_of(importlib.import_module("torch.nn.attention.varlen").varlen_attn)
    except (ImportError, AttributeError):
        return None


KERNEL = installed() if torch.version.cuda else None
"""The kernel of the installed torch, or None; also None where torch is built without GPUs. Looked up once: compiled
blocks cannot do so."""


class Visible(NamedTuple):
    """The attention mask of a batch; with neither field each token attends to all before it in its sequence.

    `mask` is (batch, 1, sequence, sequence), true where a token attends to another. `borders` are the positions where
    documents begin in the tokens of all sequences one after the other, and the number of tokens: int32.
    """

    mask: torch.Tensor | None = None
    borders: torch.Tensor | None = None


CAUSAL = Visible()
"""Each token attends to all before it."""


def packs(hidden: torch.Tensor, head: int) -> bool:
    """Return whether the kernel for packed sequences takes such numbers, (..., width), in heads of that width."""
    return (
        hidden.is_cuda
        and hidden.dtype in (torch.bfloat16, torch.float16)
        and torch.cuda.get_device_capability(hidden.device) >= (8, 0)
        and head <= _MAX_HEAD_WIDTH
        and KERNEL is not None
    )


def visible(documents: torch.Tensor, *, packed: bool) -> Visible:
    """Return the mask of tokens whose documents are numbered, (batch, sequence), from 0 in each sequence."""
    if packed:
        begins = documents[:, 1:] != documents[:, :-1]
        begins = functional.pad(begins, (1, 0), value=True).flatten()
        borders = functional.pad(begins.nonzero().flatten(), (0, 1), value=begins.numel())
        return Visible(borders=borders.int())
    places = torch.arange(documents.shape[1], device=documents.device)
    same = documents[:, :, None] == documents[:, None, :]
    return Visible(mask=(same & (places[:, None] >= places[None, :]))[:, None])


def attention_output(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: Visible = CAUSAL
) -> torch.Tensor:
    """Return the values that each query attends to: (batch, sequence, heads, width), as `query` is.

    `key` and `value` may have fewer heads, each of which serves a group of neighbouring query heads.
    """
    if seen.borders is not None:
        length = query.shape[1]
        found = _packed(query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), seen.borders, length)
        return found.view_as(query)
    grouped = query.shape[2] != key.shape[2]
    if grouped and seen.mask is not None and query.is_cuda:
        # The memory-efficient kernel takes the mask, and as many heads of each.
        key, value = _repeated(key, query), _repeated(value, query)
        grouped = False
    found = functional.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=seen.mask,
        is_causal=seen.mask is None,
        enable_gqa=grouped,
    )
    return found.transpose(1, 2)


def packed_operation() -> Any | None:
    """Return torch's operation behind the kernel for packed sequences, or None where torch has none."""
    if KERNEL is None:
        return None
    found = getattr(torch.ops.torch_attn, "_varlen_attn", None)
    return None if found is None else found.default


def _packed(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: torch.Tensor, longest: int
) -> torch.Tensor:
    """Return attention within documents; tensors are (tokens, heads, width)."""
    assert KERNEL is not None
    more = dict(KERNEL.causal)
    if query.shape[1] != key.shape[1]:
        if KERNEL.groups:
            more["enable_gqa"] = True
        else:
            key, value = _repeated(key, query), _repeated(value, query)
    return KERNEL.call(query, key, value, borders, borders, longest, longest, **more)


def _repeated(tensor: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Return keys or values with as many heads as the queries."""
    return tensor.repeat_interleave(query.shape[-2] // tensor.shape[-2], dim=-2)
