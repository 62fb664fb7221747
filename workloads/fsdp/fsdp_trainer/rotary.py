"""Rotary positions: each pair of a head's numbers is turned by an angle that grows with the position.

Source of the idea: Su et al., RoFormer (2021). A pair is a number of the head's first half and the one at the same
place of its second half.
"""

from __future__ import annotations

import math

import torch
from fsdp_trainer.configuration import ModelConfiguration, RopeScaling

Tables = tuple[torch.Tensor, torch.Tensor]


def frequencies(model: ModelConfiguration) -> torch.Tensor:
    """Return the turn a position, in radians, of each pair: float64, on the processor."""
    pairs = torch.arange(0, model.head, 2, dtype=torch.float64, device="cpu")
    turns = model.rope_theta ** (-pairs / model.head)
    return turns if model.rope_scaling is None else _scaled(turns, model.rope_scaling)


def tables(model: ModelConfiguration, positions: int) -> Tables:
    """Return cosines and sines of positions 0 to `positions` - 1: float32, each (positions, head / 2)."""
    angles = torch.arange(positions, dtype=torch.float64, device="cpu")[:, None] * frequencies(model)[None]
    return angles.cos().float(), angles.sin().float()


def turned(heads: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """Return `heads` (batch, sequence, heads, width) turned; computed in float32, given back in its own type.

    `cosines` and `sines` are (sequence, width / 2), or have the batch before that.
    """
    first, second = heads.float().chunk(2, dim=-1)
    cosines, sines = cosines.unsqueeze(-2), sines.unsqueeze(-2)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), -1).to(heads.dtype)


def _scaled(turns: torch.Tensor, scaling: RopeScaling) -> torch.Tensor:
    waves = 2 * math.pi / turns
    longest = scaling.original_context / scaling.low_frequency_factor
    shortest = scaling.original_context / scaling.high_frequency_factor
    share = (scaling.original_context / waves - scaling.low_frequency_factor) / (
        scaling.high_frequency_factor - scaling.low_frequency_factor
    )
    between = (1 - share) * turns / scaling.factor + share * turns
    return torch.where(waves > longest, turns / scaling.factor, torch.where(waves < shortest, turns, between))
