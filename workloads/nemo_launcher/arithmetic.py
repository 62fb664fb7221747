"""The sizes of the launcher's models, how Megatron Core splits them, and the memory that training takes at least.

The sizes are those of `conf/model` (a test compares them), the rules Megatron Core's, which NeMo 1 trains with
(`workloads.megatron_lm.arithmetic`). Virtual stages divide the layers of a stage, and one of them is none
(nemo/collections/nlp/models/language_modeling/megatron_base_model.py of NVIDIA/NeMo v2.1.0). With `megatron_amp_O2` a
weight is bf16, and its gradient takes 2 bytes at least; `mcore_distributed_optim` shares float32 weights and two
moments over the data-parallel ranks. The vocabulary is left out: its size is the tokenizer's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from workloads.footprint import Footprint
from workloads.layout import Layout
from workloads.training_state import StateBytes, lower_bound
from workloads.transformer import Splits, Transformer
from workloads.words import argument_value, option_values, size_of


def _gpt3(layers: int, width: int, heads: int) -> Transformer:
    return Transformer(
        layers=layers, width=width, heads=heads, feed_forward=4 * width, vocabulary=0, gated=False, tied=True
    )


MODELS: Mapping[str, Transformer] = MappingProxyType(
    {
        "gpt3-126m": _gpt3(12, 768, 12),
        "gpt3-5b": _gpt3(24, 4096, 32),
        "gpt3-40b": _gpt3(48, 8192, 64),
        "gpt3-175b": _gpt3(96, 12288, 96),
        "llama2-7b": Transformer(layers=32, width=4096, heads=32, feed_forward=11008, vocabulary=0),
        "llama2-70b": Transformer(
            layers=80, width=8192, heads=64, key_value_heads=8, feed_forward=28672, vocabulary=0
        ),
    }
)

VIRTUAL = "model.virtual_pipeline_model_parallel_size"
"""The virtual stages of each stage; null: none."""

_VIRTUAL_STAGES = MappingProxyType({"gpt3-175b": 6, "llama2-70b": 5})
"""The virtual stages of the models that have some by their file of `conf/model`."""

_SIZES = MappingProxyType(
    {
        "layers": "model.num_layers",
        "width": "model.hidden_size",
        "heads": "model.num_attention_heads",
        "key_value_heads": "model.num_query_groups",
        "feed_forward": "model.ffn_hidden_size",
    }
)
_STATE = StateBytes(4, 12, "bf16 weights and gradients", "float32 weights and Adam's two moments")


def _model(arguments: Sequence[str]) -> Transformer | None:
    words = option_values(arguments)
    model = MODELS.get(words.get("model", "gpt3-126m"))
    if model is None or words.get("program", "nemo") != "nemo":
        return None
    return model.changed(arguments, _SIZES)


def splits(arguments: Sequence[str]) -> Splits | None:
    """Return the parallel sizes of the model that the arguments name; None for the placeholder."""
    model = _model(arguments)
    if model is None:
        return None
    given = argument_value(arguments, VIRTUAL)
    virtual = size_of(arguments, VIRTUAL)
    if given is None:
        virtual = _VIRTUAL_STAGES.get(option_values(arguments).get("model", ""))
    return Splits(
        tensors={"attention heads": model.heads},
        groups=model.key_value_heads,
        layers=model.layers,
        virtual=None if virtual == 1 else virtual,
    )


def footprint(arguments: Sequence[str], ranks: int, layout: Layout | None) -> Footprint | None:
    """Return what training takes of each rank at least; None for the placeholder, with FSDP and another optimizer."""
    model = _model(arguments)
    changed = ("model.optim.name", "model.megatron_amp_O2", "model.fsdp", "trainer.precision")
    if model is None or any(argument_value(arguments, name) is not None for name in changed):
        return None
    return lower_bound(model.parameters, ranks, layout, _STATE)
