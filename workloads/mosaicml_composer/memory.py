"""The memory that training of MPT takes at least.

llm-foundry's FSDP (FULL_SHARD, decoupled AdamW) keeps float32 weights, gradients and moments in shards over all ranks;
Composer alone keeps all of them on each rank. Stable Diffusion is left out: its number of weights is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workloads.footprint import Footprint
from workloads.layout import Layout
from workloads.mosaicml_composer.composer_sizes import MPT
from workloads.training_state import DATA_PARALLEL, FSDP, lower_bound
from workloads.transformer import Transformer
from workloads.words import option_values

_OTHERS = ("model.", "model=", "optimizer", "fsdp_config=", "fsdp_config.cpu_offload")
"""Beginnings of keys of llm-foundry's configuration that change the sizes, or the bytes of a weight."""


def footprint(arguments: Sequence[str], ranks: int, layout: Layout | None) -> Footprint | None:
    """Return what training takes of each rank at least; None for other models, and where `--set` makes it unknown."""
    words = option_values(arguments)
    size = MPT.get(words.get("model", ""))
    if size is None or any(value.startswith(_OTHERS) for value in _set(arguments)):
        return None
    model = Transformer(
        layers=size.layers,
        width=size.width,
        heads=size.heads,
        feed_forward=4 * size.width,
        vocabulary=size.vocabulary,
        gated=False,
        tied=True,
    )
    state = DATA_PARALLEL if words.get("trainer") == "composer" else FSDP
    return lower_bound(model.parameters, ranks, layout, state)


def _set(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the values of `--set`, of which each counts."""
    for before, word in zip(("", *arguments), arguments, strict=False):
        if before == "--set":
            yield word
        elif word.startswith("--set="):
            yield word.removeprefix("--set=")
