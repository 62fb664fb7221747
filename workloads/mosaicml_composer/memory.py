"""The memory that training takes at least.

llm-foundry's FSDP (FULL_SHARD, decoupled AdamW) keeps float32 weights, gradients and moments in shards over all ranks;
Composer alone, which trains Stable Diffusion too, keeps all of them on each rank, and with `--ema` the moving average
of the weights (`EMAParameters` of composer/algorithms/ema/ema.py, at the version of the environment).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workloads.footprint import Footprint
from workloads.layout import Layout
from workloads.mosaicml_composer.composer_sizes import DIFFUSION, MPT
from workloads.training_state import DATA_PARALLEL, FSDP, StateBytes, lower_bound
from workloads.transformer import Transformer
from workloads.words import option_values

_OTHERS = ("model.", "model=", "optimizer", "fsdp_config=", "fsdp_config.cpu_offload")
"""Beginnings of keys of llm-foundry's configuration that change the sizes, or the bytes of a weight."""

_AVERAGED = StateBytes(whole=20, whole_name=f"{DATA_PARALLEL.whole_name}, and their moving average")
"""Composer alone with `--ema`."""


def footprint(arguments: Sequence[str], ranks: int, layout: Layout | None) -> Footprint | None:
    """Return what training takes of each rank at least; None for other models, and where `--set` makes it unknown."""
    words = option_values(arguments)
    name = words.get("model", "")
    if name in DIFFUSION:
        state = _AVERAGED if "ema" in words else DATA_PARALLEL
        return lower_bound(DIFFUSION[name].weights, ranks, layout, state)
    size = MPT.get(name)
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
