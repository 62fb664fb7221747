"""The sizes of Llama 3 for NxD, how NxD splits it, and the memory that training takes at least.

The sizes are those of the configurations in NxD's examples (examples/training/llama, 8B_config_llama3 and
70B_config_llama3), read at v2.28.0's commit 22cadad. The tensor-parallel size divides the attention heads, and the
key-value heads times `--kv_replicator`, which divides it (modeling_llama_nxd.py, modules/qkv_linear.py). A pipeline has
a layer at least in each stage (pipeline/partition.py).

A weight and its gradient are bf16 at least, and AdamW's two moments float32; with ZeRO-1 (`--use_zero_1`,
`--use_zero1_optimizer`) the moments are shared. float32 copies of the weights are not counted: whether there are some
depends on the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from workloads.footprint import Footprint
from workloads.layout import Layout
from workloads.training_state import StateBytes, lower_bound
from workloads.transformer import Splits, Transformer
from workloads.words import option_values

MODELS: Mapping[str, Transformer] = MappingProxyType(
    {
        "llama3-8b": Transformer(
            layers=32, width=4096, heads=32, key_value_heads=8, feed_forward=14336, vocabulary=128256
        ),
        "llama3-70b": Transformer(
            layers=80, width=8192, heads=64, key_value_heads=8, feed_forward=28672, vocabulary=128256
        ),
    }
)

_WEIGHTS, _MOMENTS = "bf16 weights and gradients", "AdamW's two moments"


def splits(arguments: Sequence[str]) -> Splits | None:
    """Return the parallel sizes of the model that the arguments name; None for the placeholder."""
    words = option_values(arguments)
    model = MODELS.get(words.get("model", ""))
    if model is None or words.get("task") == "export":
        return None
    text = words.get("kv_replicator", "1")
    replicas = int(text) if text.isascii() and text.isdecimal() and int(text) else 1
    heads = (model.key_value_heads or model.heads) * replicas
    return Splits(
        tensors={"attention heads": model.heads, f"key-value heads (with --kv_replicator {replicas})": heads},
        stages=model.layers,
    )


def footprint(arguments: Sequence[str], ranks: int, layout: Layout | None) -> Footprint | None:
    """Return what training takes of each rank at least; None for the placeholder and for an export."""
    words = option_values(arguments)
    model = MODELS.get(words.get("model", ""))
    if model is None or words.get("task") == "export":
        return None
    shared = "use_zero_1" in words or words.get("use_zero1_optimizer", "0") != "0"
    state = (
        StateBytes(4, 8, _WEIGHTS, _MOMENTS)
        if shared
        else StateBytes(whole=12, whole_name=f"{_WEIGHTS}, {_MOMENTS}")
    )
    return lower_bound(model.parameters, ranks, layout, state)
