"""The memory that the jax trainer takes on a mesh, computed from a run's arguments.

With P parameters on N devices, split over both axes of the mesh (`jax_trainer.mesh`), each device holds float32 weights
4P/N and AdamW's two moments 8P/N. Float32 gradients, 4P/N, grow while activations go: the larger counts. With
`--recompute`, the default, the backward pass has of each block its input: 2 or 4 bytes for each token of the device and
each number of its width.

Without it there is more of each block and token, which is an estimate because XLA decides: both norms and what is
between them (3 widths); and split over the axis model query, key, value and attention's output (4 widths), and the
feed-forward layer before and after GELU (2 feed-forward widths).

For moments there is more, which is estimated: logits, their log-softmax and its gradient (12 bytes for each token and
each word of the device's part of the vocabulary). A checkpoint holds weights and moments, 12P bytes; `--keep` of them
stay, and the next one is written before the oldest goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workloads.footprint import Footprint, Share
from workloads.jax.jax_trainer.models import MODELS
from workloads.layout import Layout
from workloads.words import option_values

DEFAULTS: Mapping[str, str] = {"precision": "bf16", "model-parallel": "1", "keep": "3"}
"""The trainer's defaults (`jax_trainer.options`; a test compares them)."""

_STATE, _LOGIT = 12, 12
"""Bytes of a parameter: the float32 weight and two moments; of a logit: itself, its log-softmax, its gradient."""


def footprint(arguments: Sequence[str], ranks: int, _layout: Layout | None = None) -> Footprint:
    """Return what a run with these arguments takes on each of `ranks` devices.

    Raises:
        KeyError: the arguments name no model, no sequence length or no global batch, as every preset does.
    """
    words = {**DEFAULTS, **option_values(arguments)}
    model = MODELS[words["model"]]
    count = model.parameters
    parts = int(words["model-parallel"])
    copies = max(1, ranks // parts)
    tokens = max(1, int(words["global-batch"]) // copies) * int(words["sequence-length"])
    size = 2 if words["precision"] == "bf16" else 4
    passed = tokens * model.layers * size
    kept = Share(
        "activations",
        passed * model.width,
        f"{tokens:,} tokens x {model.layers} layers x {model.width:,} x {size} bytes",
    )
    gradients = Share("gradients", 4 * count // ranks, f"{count:,} x 4 bytes / {ranks} devices")
    more = []
    if "no-recompute" in words:
        inner = 3 * model.width + (4 * model.width + 2 * model.feed_forward) // parts
        how = f"{tokens:,} tokens x {model.layers} layers x {inner:,} x {size} bytes"
        more = [Share("activations inside blocks", passed * inner, how)]
    part = model.vocabulary // parts
    logits = Share("logits", tokens * part * _LOGIT, f"{tokens:,} tokens x {part:,} words x {_LOGIT} bytes")
    state = Share(
        "weights and AdamW's moments",
        _STATE * count // ranks,
        f"{count:,} x {_STATE} bytes / {ranks} devices",
    )
    return Footprint(
        (state, max(kept, gradients, key=lambda share: share.size)),
        (*more, logits),
        _STATE * count,
        int(words["keep"]) + 1,
    )
