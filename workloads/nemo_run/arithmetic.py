"""The sizes of the models of NeMo 2's recipes, how they are split, and the memory that training takes at least.

The sizes are those of nemo/collections/llm/gpt/model/llama.py, the rules Megatron Core's
(`workloads.megatron_lm.arithmetic`). NeMo hands virtual stages on to Megatron Core as they are
(`init_model_parallel` of nemo/lightning/_strategy_lib.py), which refuses one in a pipeline of one stage too. Recipes
compute in bf16 with the distributed optimizer (recipes/precision/mixed_precision.py, recipes/optim/adam.py; NVIDIA/NeMo
at 8cfedd7): a weight and its gradient take 2 bytes each at least, float32 weights and two moments 12 over the
data-parallel ranks. An adapter trains few weights: of the model there are the 2 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from workloads.footprint import Footprint
from workloads.layout import Layout
from workloads.training_state import StateBytes, lower_bound
from workloads.transformer import Splits, Transformer
from workloads.words import argument_value, option_values, size_of

_8B = Transformer(layers=32, width=4096, heads=32, key_value_heads=8, feed_forward=14336, vocabulary=128256)
_70B = replace(_8B, layers=80, width=8192, heads=64, feed_forward=28672)
MODELS: Mapping[str, Transformer] = MappingProxyType(
    {
        "llama3_8b": _8B,
        "llama3_70b": _70B,
        "llama31_8b": _8B,
        "llama31_70b": _70B,
        "llama31_405b": replace(_8B, layers=126, width=16384, heads=128, feed_forward=53248),
        "llama32_1b": replace(_8B, layers=16, width=2048, heads=32, feed_forward=8192, tied=True),
        "llama32_3b": replace(_8B, layers=28, width=3072, heads=24, feed_forward=8192, tied=True),
    }
)
"""The models by recipe; those for longer sequences (`llama3_8b_16k`) have the same sizes."""

_BY_NAME = MappingProxyType(
    {
        "layers": "model.config.num_layers",
        "width": "model.config.hidden_size",
        "heads": "model.config.num_attention_heads",
        "key_value_heads": "model.config.num_query_groups",
        "feed_forward": "model.config.ffn_hidden_size",
    }
)
VIRTUAL = "trainer.strategy.virtual_pipeline_model_parallel_size"
"""The virtual stages of each stage; a preset whose recipe has some says so again."""

_UNEVEN = ("_in_pipeline_split=", "pipeline_stage=", "pipeline_model_parallel_layout=")
"""Parts of values that deal layers out to stages in another way."""

_PRETRAINED = StateBytes(4, 12, "bf16 weights and gradients", "float32 weights and Adam's two moments")
_FROZEN = StateBytes(whole=2, whole_name="bf16 weights")


def _recipe(arguments: Sequence[str]) -> str:
    return "_".join(option_values(arguments).get("recipe", "").split("_")[:2])


def _model(arguments: Sequence[str]) -> Transformer | None:
    model = MODELS.get(_recipe(arguments))
    return model and model.changed(arguments, _BY_NAME)


def splits(arguments: Sequence[str]) -> Splits | None:
    """Return the parallel sizes of the recipe's model; None for the placeholder.

    Where 405B is pre-trained, the embedding and the output count as layers, so 8 stages share 128
    (recipes/llama31_405b.py).
    """
    model = _model(arguments)
    if model is None:
        return None
    uneven = any(part in word for word in arguments for part in _UNEVEN)
    pretrains = option_values(arguments).get("task", "pretrain") == "pretrain"
    more = 2 if _recipe(arguments) == "llama31_405b" and pretrains else 0
    return Splits(
        tensors={"attention heads": model.heads},
        groups=model.key_value_heads,
        layers=None if uneven else model.layers + more,
        virtual=size_of(arguments, VIRTUAL),
    )


def footprint(arguments: Sequence[str], ranks: int, layout: Layout | None) -> Footprint | None:
    """Return what training takes of each rank at least; None for the placeholder and with another optimizer."""
    model = _model(arguments)
    if model is None or any(
        word.startswith(("optim=", "optim.config=", "optim.config.optimizer=")) for word in arguments
    ):
        return None
    words = option_values(arguments)
    adapted = words.get("task") == "finetune" and words.get("adapter", "lora") != "none"
    if not adapted and argument_value(arguments, "optim.config.use_distributed_optimizer") is not None:
        return None
    return lower_bound(model.parameters, ranks, layout, _FROZEN if adapted else _PRETRAINED)
