"""The sizes of a model by Megatron-LM's options, how it is split, and the memory that training takes at least.

The tensor-parallel size divides the attention heads, and the query groups or is a multiple of them; the pipeline's
stages divide the layers, unless options deal them out in another way (megatron/core/transformer/transformer_config.py
and transformer_block.py). Virtual stages divide the layers of a stage (`get_num_layers_to_build` of
transformer_block.py), and only a pipeline of more than one stage has some (`initialize_model_parallel` of
megatron/core/parallel_state.py). One virtual stage is none (`validate_args` of megatron/training/arguments.py). All of
this was read at NVIDIA/Megatron-LM core_v0.17.0.

Bytes of a weight are those of NVIDIA's Megatron Core user guide, "Distributed Optimizer": with bf16 weights and float32
gradients 18, or 6 and 12 over the data-parallel ranks with the distributed optimizer; all in float32 16, or 8 and 8.
"""

from __future__ import annotations

from collections.abc import Sequence

from workloads.footprint import Footprint
from workloads.layout import Layout
from workloads.training_state import StateBytes, lower_bound
from workloads.transformer import Splits, Transformer
from workloads.words import option_values

_UNEVEN = frozenset(
    {
        *(
            "decoder-first-pipeline-num-layers",
            "decoder-last-pipeline-num-layers",
            "pipeline-model-parallel-layout",
        ),
        *("account-for-embedding-in-pipeline-split", "account-for-loss-in-pipeline-split", "mtp-num-layers"),
    }
)
"""Options that deal layers out to stages in another way."""

_OTHER_STATE = frozenset(
    {
        *("use-torch-fsdp2", "use-megatron-fsdp", "use-precision-aware-optimizer", "optimizer-cpu-offload"),
        *("fp8-param-gather", "fp4-param-gather", "num-experts", "multi-latent-attention", "kv-channels"),
    }
)
"""Options with which the bytes of a weight, or the weights of a layer, are others."""


def _size(words: dict[str, str], name: str) -> int:
    text = words.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() else 0


def _model(words: dict[str, str]) -> Transformer | None:
    """Return the model of options; without the vocabulary where only its tokenizer knows it."""
    layers, width, heads = (
        _size(words, name) for name in ("num-layers", "hidden-size", "num-attention-heads")
    )
    if not (layers and width and heads):
        return None
    groups = _size(words, "num-query-groups") if "group-query-attention" in words else 0
    return Transformer(
        layers=layers,
        width=width,
        heads=heads,
        key_value_heads=groups or None,
        # The smaller of Megatron-LM's two defaults, of which one is 4 x width.
        feed_forward=_size(words, "ffn-hidden-size") or 4 * width * 2 // 3 // 64 * 64,
        vocabulary=_size(words, "padded-vocab-size") or _size(words, "vocab-size"),
        gated="swiglu" in words,
        tied="untie-embeddings-and-output-weights" not in words,
    )


def splits(arguments: Sequence[str]) -> Splits | None:
    """Return the parallel sizes of the model that the arguments describe."""
    words = option_values(arguments)
    model = _model(words)
    if model is None or "multi-latent-attention" in words:
        return None
    virtual = _size(words, "num-virtual-stages-per-pipeline-rank")
    return Splits(
        tensors={"attention heads": model.heads},
        groups=model.key_value_heads,
        layers=None if words.keys() & _UNEVEN else model.layers,
        virtual=virtual if virtual > 1 else None,
        virtual_layers=_size(words, "num-layers-per-virtual-pipeline-stage") or None,
    )


def footprint(arguments: Sequence[str], ranks: int, layout: Layout | None) -> Footprint | None:
    """Return what training takes of each rank at least; None where options make it another than the guide's."""
    words = option_values(arguments)
    model = _model(words)
    if model is None or words.keys() & _OTHER_STATE or words.get("optimizer", "adam") != "adam":
        return None
    copies = _size(words, "num-distributed-optimizer-instances") or 1
    return lower_bound(model.parameters, ranks, layout, _state(words), copies=copies)


def _state(words: dict[str, str]) -> StateBytes:
    half = "bf16" in words or "fp16" in words
    weight = 2 if half else 4
    # fp16 sums gradients in fp16, unless other options say float32.
    gradient = 2 if "fp16" in words or "grad-reduce-in-bf16" in words else 4
    optimizer = 12 if half else 8
    names = (
        "weights and gradients",
        "float32 weights and Adam's two moments" if half else "Adam's two moments",
    )
    if "use-distributed-optimizer" in words:
        return StateBytes(weight + gradient, optimizer, *names)
    return StateBytes(whole=weight + gradient + optimizer, whole_name=" and ".join(names))
