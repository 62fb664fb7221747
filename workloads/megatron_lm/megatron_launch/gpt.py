"""megatron-core's GPT with the layers of Llama, and an optimizer for it, on processors."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer import TransformerConfig


def configuration(settings: Namespace) -> TransformerConfig:
    """Return the configuration of the layers. Dropout is 0: its random state would be CUDA's."""
    return TransformerConfig(
        num_layers=settings.num_layers,
        hidden_size=settings.hidden_size,
        ffn_hidden_size=settings.ffn_hidden_size,
        num_attention_heads=settings.num_attention_heads,
        num_query_groups=settings.num_query_groups,
        normalization="RMSNorm",
        gated_linear_unit=True,
        activation_func=torch.nn.functional.silu,
        add_bias_linear=False,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        init_method_std=settings.init_method_std,
        use_cpu_initialization=True,
        tensor_model_parallel_size=settings.tensor_model_parallel_size,
    )


def vocabulary(settings: Namespace) -> int:
    """Return the rows of the embedding, padded as Megatron-LM pads them; NullTokenizer adds a token to the option."""
    multiple = settings.make_vocab_size_divisible_by * settings.tensor_model_parallel_size
    return -(-(settings.vocab_size + 1) // multiple) * multiple


def build(settings: Namespace) -> DistributedDataParallel:
    """Return the model, data-parallel over megatron-core's groups.

    Every rank draws all weights and keeps its part of them, so they are the same for each tensor-parallel size.
    """
    torch.manual_seed(settings.seed)
    layers = configuration(settings)
    model = GPTModel(
        layers,
        get_gpt_layer_local_spec(normalization="RMSNorm"),
        vocab_size=vocabulary(settings),
        max_sequence_length=settings.max_position_embeddings,
        position_embedding_type="rope",
        share_embeddings_and_output_weights=False,
    )
    return DistributedDataParallel(layers, DistributedDataParallelConfig(), model)


def gradient_norm(parameters: Iterable[torch.nn.Parameter]) -> float:
    """Return the norm of all gradients together: parts that the tensor-parallel ranks share count once."""
    shared, split = torch.zeros(()), torch.zeros(())
    for parameter in parameters:
        if parameter.grad is None:
            continue
        square = parameter.grad.square().sum()
        if getattr(parameter, "tensor_model_parallel", False):
            split += square
        else:
            shared += square
    dist.all_reduce(split, group=parallel_state.get_tensor_model_parallel_group())
    return float((shared + split).sqrt())
