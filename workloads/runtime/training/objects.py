"""Exchange of small objects between ranks: plain values and tensors, as a checkpoint holds them.

torch's own collectives for objects unpickle whatever arrives and need numpy, which torch does not bring along.
These send what `torch.save` writes and read it with `weights_only`, on the processor, in the group for saving.
"""

from __future__ import annotations

import ctypes
import io
from typing import Any

import torch
import torch.distributed as dist

from training.process_group import Ranks


def broadcast(value: Any, ranks: Ranks) -> Any:
    """Return rank 0's value on every rank; what other ranks give is not looked at. All ranks call it."""
    content = _packed(value) if ranks.first else torch.empty(0, dtype=torch.uint8)
    size = torch.tensor([content.numel()])
    dist.broadcast(size, src=0, group=ranks.saving)
    if not ranks.first:
        content = torch.empty(int(size.item()), dtype=torch.uint8)
    dist.broadcast(content, src=0, group=ranks.saving)
    return value if ranks.first else _unpacked(content)


def gather(value: Any, ranks: Ranks) -> list[Any]:
    """Return the values of all ranks, in order, on rank 0; an empty list elsewhere. All ranks call it."""
    content = _packed(value)
    sizes = [torch.zeros(1, dtype=torch.long) for _ in range(ranks.count)]
    dist.all_gather(sizes, torch.tensor([content.numel()]), group=ranks.saving)
    longest = max(int(size.item()) for size in sizes)
    padded = torch.zeros(longest, dtype=torch.uint8)
    padded[: content.numel()] = content
    received = [torch.empty_like(padded) for _ in range(ranks.count)] if ranks.first else None
    dist.gather(padded, received, dst=0, group=ranks.saving)
    return [_unpacked(part[: int(size.item())]) for part, size in zip(received or (), sizes, strict=False)]


def _packed(value: Any) -> torch.Tensor:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(bytearray(buffer.getbuffer()), dtype=torch.uint8)


def _unpacked(content: torch.Tensor) -> Any:
    whole = content.contiguous()
    read = ctypes.string_at(whole.data_ptr(), whole.numel())
    return torch.load(io.BytesIO(read), map_location="cpu", weights_only=True)
