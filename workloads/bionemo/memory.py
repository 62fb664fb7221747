"""The memory that pre-training of ESM-2 takes at least: float32 weights on each rank, computed with in bf16."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.bionemo.esm2_trainer.sizes import SIZES
from workloads.footprint import Footprint
from workloads.layout import Layout
from workloads.training_state import DATA_PARALLEL, lower_bound
from workloads.words import option_values


def footprint(arguments: Sequence[str], ranks: int, layout: Layout | None) -> Footprint | None:
    """Return what training takes of each rank at least; None where the arguments name no known model."""
    size = SIZES.get(option_values(arguments).get("model", "650m"))
    return None if size is None else lower_bound(size.multiplied, ranks, layout, DATA_PARALLEL)
