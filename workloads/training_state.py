"""The bytes that training keeps of a model on each rank: the lower bound that frameworks' footprints have in common.

Weights, gradients and the optimizer's state are together on an accelerator when the optimizer steps, whatever the
kernels do. Of a model in P weights, tp x pp ranks hold one copy. The stages of a pipeline need not be equal, but the
largest has at least the mean, P / (tp x pp), and without it the run does not start. Activations, gathered layers and
buffers are left out: they depend on kernels, and are not known here. So is the size of a checkpoint, whose form is the
framework's.
"""

from __future__ import annotations

from dataclasses import dataclass

from workloads.footprint import Footprint, Share
from workloads.layout import Layout


@dataclass(frozen=True, slots=True)
class StateBytes:
    """The bytes of a weight with its gradient and its optimizer's state.

    `whole` are those that every copy of the model has, `shared` those that data-parallel and context-parallel ranks
    have once, each a part (ZeRO, FSDP). `whole_name` and `shared_name` say what they are.
    """

    whole: int = 0
    shared: int = 0
    whole_name: str = ""
    shared_name: str = ""


FSDP = StateBytes(shared=16, shared_name="float32 weights, gradients and AdamW's two moments")
"""FSDP with float32 weights: 4 bytes each (torch's fully_shard keeps the shards in the weights' own precision)."""

DATA_PARALLEL = StateBytes(whole=16, whole_name=FSDP.shared_name)
"""DistributedDataParallel with float32 weights."""


def lower_bound(
    parameters: int, ranks: int, layout: Layout | None, state: StateBytes, *, copies: int = 1
) -> Footprint:
    """Return what a run keeps of the state on each of `ranks` ranks.

    `copies` is the number of groups of ranks that each have all of what is shared (hybrid sharding).
    """
    layout = layout or Layout()
    parts = layout.tp * layout.pp
    sharing = max(1, ranks // parts // copies)
    split = f" / {parts} ({layout.tp} tp x {layout.pp} pp)" if parts > 1 else ""
    shares = []
    if state.whole:
        size = state.whole * parameters // parts
        shares.append(Share(state.whole_name, size, f"{parameters:,} x {state.whole} bytes{split}"))
    if state.shared:
        size = state.shared * parameters // parts // sharing
        shares.append(
            Share(state.shared_name, size, f"{parameters:,} x {state.shared} bytes{split} / {sharing} ranks")
        )
    return Footprint(tuple(shares), (), 0, 0)
