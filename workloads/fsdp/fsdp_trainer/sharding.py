"""The distribution of a decoder over ranks: the mesh, the shards, and options that save memory or time."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from fsdp_trainer.attention import packed_operation
from fsdp_trainer.decoder import Block, Decoder
from fsdp_trainer.initialisation import initialise
from fsdp_trainer.options import Options
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
from training.errors import TrainingError
from training.process_group import Ranks

_aten = torch.ops.aten


def kept() -> frozenset[Any]:
    """Return what selective recomputation keeps: the expensive operations. The rest is cheap to do again."""
    return frozenset(
        {
            _aten.mm.default,
            _aten.addmm.default,
            _aten._scaled_dot_product_flash_attention.default,
            _aten._scaled_dot_product_efficient_attention.default,
            _aten._scaled_dot_product_cudnn_attention.default,
            _aten._scaled_dot_product_flash_attention_for_cpu.default,
            *filter(None, [packed_operation()]),
        }
    )


_KEPT = kept()

_FLOAT8_MULTIPLE = 16
"""Sizes of float8 products must divide by this (torchao's float8 training)."""


def mesh(chosen: Options, ranks: Ranks) -> DeviceMesh:
    """Return the ranks as a mesh: shards alone, or replicas of shards (hybrid sharding).

    Raises:
        TrainingError: the ranks cannot be shared out as asked.
    """
    if ranks.count % chosen.replicas:
        raise TrainingError(f"--replicas {chosen.replicas} does not divide {ranks.count} ranks")
    kind = ranks.device.type
    if chosen.replicas == 1:
        return init_device_mesh(kind, (ranks.count,), mesh_dim_names=("shard",))
    shape = (chosen.replicas, ranks.count // chosen.replicas)
    return init_device_mesh(kind, shape, mesh_dim_names=("replicate", "shard"))


def build(chosen: Options, ranks: Ranks) -> Decoder:
    """Return the model, sharded over all ranks and initialised.

    It is laid out on the meta device, so no rank ever holds all of it; float8 and compilation change modules, so
    they come before the shards are cut.

    Raises:
        TrainingError: float8 was asked for where it cannot be.
    """
    with torch.device("meta"):
        decoder = Decoder(chosen.configuration)
    if chosen.float8:
        _to_float8(decoder, ranks)
    for block in blocks(decoder):
        block.recompute = chosen.recompute != "none"
        if chosen.recompute == "selective":
            block.contexts = partial(create_selective_checkpoint_contexts, _policy)
        if chosen.compile:
            block.compile()
    shard(decoder, chosen, mesh(chosen, ranks))
    decoder.to_empty(device="cpu" if chosen.offload_parameters else ranks.device)
    initialise(decoder, chosen.seed)
    decoder.reset_tables(chosen.sequence_length, ranks.device)
    return decoder


def shard(decoder: Decoder, chosen: Options, over: DeviceMesh) -> None:
    """Cut each block's parameters into shards, then those that belong to no block.

    Gradients are summed over ranks, not averaged: the loss is already divided by what all ranks together train on.
    Inputs are not cast: the stream has its type from the embedding, and rotary tables stay float32.
    """
    low = torch.bfloat16 if chosen.precision == "bf16" else torch.float32
    options: dict[str, Any] = {
        "mesh": over,
        "mp_policy": MixedPrecisionPolicy(low, torch.float32, cast_forward_inputs=False),
        "offload_policy": CPUOffloadPolicy(over.device_type == "cuda")
        if chosen.offload_parameters
        else OffloadPolicy(),
    }
    for block in blocks(decoder):
        fully_shard(block, **options, reshard_after_forward=True)
    if decoder.output is not None:
        # Needed at the very begin only. With tied weights it is the output matrix and belongs to the root.
        fully_shard(decoder.embedding, **options, reshard_after_forward=True)
    # The backward pass begins where the forward pass ends: what is gathered for the loss stays.
    fully_shard(decoder, **options, reshard_after_forward=False)
    for module in decoder.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def activations(chosen: Options, ranks: Ranks) -> AbstractContextManager[Any]:
    """Return the context of the forward pass: activations go to the host's memory where that was asked for."""
    if not chosen.offload_activations:
        return nullcontext()
    return torch.autograd.graph.save_on_cpu(pin_memory=ranks.device.type == "cuda")


def blocks(decoder: Decoder) -> list[Block]:
    """Return the decoder's blocks, in order."""
    return [block for block in decoder.blocks if isinstance(block, Block)]


def _policy(_context: Any, operation: Any, *_words: Any, **_options: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE


def _to_float8(decoder: Decoder, ranks: Ranks) -> None:
    """Let torchao replace the blocks' linear layers; the output stays as it is, its loss is too sensitive."""
    if ranks.device.type != "cuda" or torch.cuda.get_device_capability(ranks.device) < (8, 9):
        raise TrainingError(
            "--float8 needs a GPU of compute capability 8.9 or higher (L4, L40S, H100 and later)"
        )
    try:
        float8: Any = importlib.import_module("torchao.float8")
    except ImportError as error:
        raise TrainingError(
            "--float8 needs the package torchao, which is not installed here; install it in the image or the virtual "
            "environment, or leave --float8 out"
        ) from error

    def fits(module: nn.Module, name: str) -> bool:
        return (
            isinstance(module, nn.Linear)
            and name.startswith("blocks.")
            and not name.endswith("router")
            and module.in_features % _FLOAT8_MULTIPLE == 0
            and module.out_features % _FLOAT8_MULTIPLE == 0
        )

    float8.convert_to_float8_training(decoder, module_filter_fn=fits)
