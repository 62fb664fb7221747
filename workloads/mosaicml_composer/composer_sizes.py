"""The sizes of the models of mosaicml-composer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MptSize:
    """A size of MPT: its width, heads, layers, vocabulary, and the number of tokens of a sequence."""

    width: int
    heads: int
    layers: int
    vocabulary: int = 50368
    sequence: int = 2048


MPT = {
    "mpt-tiny": MptSize(64, 4, 2, vocabulary=512, sequence=64),
    "mpt-125m": MptSize(768, 12, 12),
    "mpt-1b": MptSize(2048, 16, 24),
    "mpt-7b": MptSize(4096, 32, 32),
    "mpt-30b": MptSize(7168, 56, 48),
}
"""Models of mosaicml/llm-foundry at 8c8dd48, scripts/train/yamls/pretrain/; the first is ours, for tests."""


@dataclass(frozen=True, slots=True)
class DiffusionSize:
    """A size of Stable Diffusion 2: its U-Net's widths and heads, and what it is given.

    `latent` is the height and width of an image's latents, `caption` the tokens of a caption and the width of each.
    `weights` is the number of the U-Net's weights; a test counts those of Stable Diffusion 2 base.
    """

    widths: tuple[int, ...]
    heads: tuple[int, ...]
    groups: int
    latent: int
    caption: tuple[int, int]
    weights: int = 865_910_724


DIFFUSION = {
    "sd2-tiny": DiffusionSize((16, 32), (2, 4), groups=8, latent=8, caption=(7, 32), weights=283_284),
    "sd2-256": DiffusionSize(
        (320, 640, 1280, 1280), (5, 10, 20, 20), groups=32, latent=32, caption=(77, 1024)
    ),
    "sd2-512": DiffusionSize(
        (320, 640, 1280, 1280), (5, 10, 20, 20), groups=32, latent=64, caption=(77, 1024)
    ),
}
"""Stable Diffusion 2 base, for images of 256 or 512 pixels; the first is ours, for tests."""
