"""The memory that Picotron's training takes at least.

On GPUs weights are bf16, and so are gradients and AdamW's two moments, on every copy of the model (Picotron's train.py,
at the commit of picotron.txt). Data-parallel ranks sum gradients in float32 besides, which is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from workloads.footprint import Footprint
from workloads.layout import Layout
from workloads.picotron.picotron_launch.sizes import SIZES
from workloads.training_state import StateBytes, lower_bound
from workloads.words import option_values

_STATE = StateBytes(whole=8, whole_name="bf16 weights, gradients and AdamW's two moments")


def footprint(arguments: Sequence[str], ranks: int, layout: Layout | None) -> Footprint | None:
    """Return what training takes of each rank at least; None where the arguments name no known model."""
    words = option_values(arguments)
    size = SIZES.get(words.get("model", "smollm-1-7b"))
    layers = words.get("layers", "")
    if size is None or (layers and not (layers.isascii() and layers.isdecimal())):
        return None
    return lower_bound(size.parameters(int(layers or size.layers)), ranks, layout, _STATE)
