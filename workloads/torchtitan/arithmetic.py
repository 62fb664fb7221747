"""The sizes of torchtitan's Llama 3, how torchtitan splits it, and the memory that training takes at least.

The sizes are those of torchtitan (torchtitan/models/llama3/__init__.py; a test compares them with the package).
A rank has whole heads: attention shapes what its part of wq, wk and wv gives by the width of a head
(models/llama3/model/model.py). A pipeline has at most as many stages as layers and two more, which embedding and output
count for (distributed/pipeline_parallel.py). The rule of the data-parallel degrees is with `workloads.layout.Degrees`.

Weights are float32 (`training.dtype`), in shards over all ranks of a copy (fully_shard), with gradients and moments of
the same precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from workloads.footprint import Footprint
from workloads.layout import Layout
from workloads.training_state import FSDP, lower_bound
from workloads.transformer import Splits, Transformer
from workloads.words import argument_value

MODELS: Mapping[str, Transformer] = MappingProxyType(
    {
        "debugmodel": Transformer(layers=6, width=256, heads=16, feed_forward=768, vocabulary=2048),
        "8B": Transformer(
            layers=32, width=4096, heads=32, key_value_heads=8, feed_forward=14336, vocabulary=128256
        ),
        "70B": Transformer(
            layers=80, width=8192, heads=64, key_value_heads=8, feed_forward=28672, vocabulary=128256
        ),
        "405B": Transformer(
            layers=126, width=16384, heads=128, key_value_heads=8, feed_forward=53248, vocabulary=128256
        ),
    }
)
"""The models by flavor; `8B_flex` and others with a suffix have the same sizes."""

_UNEVEN = (
    "--parallelism.pipeline_parallel_first_stage_less_layers",
    "--parallelism.pipeline_parallel_last_stage_less_layers",
    "--parallelism.module_fqns_per_model_part",
)
"""Options that change what a stage of a pipeline has."""


def _model(arguments: Sequence[str]) -> Transformer | None:
    if argument_value(arguments, "--model.name") not in ("llama3", "llama3_synthetic"):
        return None
    flavor = argument_value(arguments, "--model.flavor") or ""
    return MODELS.get(flavor.partition("_")[0])


def splits(arguments: Sequence[str]) -> Splits | None:
    """Return the parallel sizes of the model that the arguments name; None where it is not known."""
    model = _model(arguments)
    if model is None:
        return None
    uneven = any(argument_value(arguments, name) is not None for name in _UNEVEN)
    return Splits(
        tensors={"attention heads": model.heads, "key-value heads": model.key_value_heads or model.heads},
        stages=None if uneven else model.layers + 2,
    )


def footprint(arguments: Sequence[str], ranks: int, layout: Layout | None) -> Footprint | None:
    """Return what training takes of each rank at least; None where the model or what is offloaded is not known."""
    model = _model(arguments)
    if model is None or argument_value(arguments, "--training.enable_cpu_offload") is not None:
        return None
    state = FSDP
    if argument_value(arguments, "--training.dtype") == "bfloat16":
        state = replace(state, shared=8, shared_name="bfloat16 weights, gradients and AdamW's two moments")
    if argument_value(arguments, "--optimizer.early_step_in_backward") is not None:
        state = replace(state, shared=state.shared * 3 // 4, shared_name="weights and AdamW's two moments")
    copies = argument_value(arguments, "--parallelism.data_parallel_replicate_degree") or ""
    return lower_bound(
        model.parameters,
        ranks,
        layout,
        state,
        copies=int(copies) if copies.isdecimal() and int(copies) else 1,
    )
