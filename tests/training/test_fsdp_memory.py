"""The arithmetic of fsdp's memory against the trainer itself: its model, its options, what autograd keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from tests.training import fsdp_modules

torch = fsdp_modules.torch

import torch.distributed as dist  # noqa: E402
from fsdp_trainer import decoder, optimisation, options, sharding  # noqa: E402
from fsdp_trainer.configuration import ModelConfiguration  # noqa: E402
from fsdp_trainer.decoder import Decoder  # noqa: E402
from fsdp_trainer.presets import LLAMA3_1_8B, MODELS, TINY, TINY_EXPERTS  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker  # noqa: E402
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh  # noqa: E402
from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: E402
from torch.utils.checkpoint import create_selective_checkpoint_contexts  # noqa: E402

from workloads.fsdp import memory  # noqa: E402

RANKS = 8
TOKENS = 512
SMALL = replace(
    LLAMA3_1_8B,
    name="small",
    vocabulary=512,
    width=256,
    heads=8,
    key_value_heads=2,
    feed_forward=896,
    layers=2,
)


@pytest.mark.parametrize("model", [*MODELS.values(), replace(TINY, tied=True)], ids=lambda model: model.name)
def test_parameters_are_those_of_the_model(model: ModelConfiguration) -> None:
    with torch.device("meta"):
        built = Decoder(model)
    output = built.embedding if built.output is None else built.output
    assert memory.parameters(model) == sum(each.numel() for each in built.parameters())
    assert memory.block_parameters(model) == sum(each.numel() for each in built.blocks[0].parameters())
    root = [*output.parameters(), *built.norm.parameters()]
    assert memory.root_parameters(model) == sum(each.numel() for each in root)


def test_what_is_not_given_is_the_trainers_default() -> None:
    chosen = options.options([])
    for name, value in memory.DEFAULTS.items():
        assert str(getattr(chosen, name.replace("-", "_"))) == value
    assert memory.LOSS_TOKENS == decoder.LOSS_TOKENS


def test_a_checkpoint_holds_weights_and_moments() -> None:
    built = Decoder(TINY)
    adam = optimisation.optimizer(built, options.options([]))
    for parameter in built.parameters():
        parameter.grad = torch.zeros_like(parameter)
    adam.step()
    held = [
        *built.parameters(),
        *(each for state in adam.state.values() for each in state.values() if each.dim()),
    ]
    words = ["--model=tiny", "--sequence-length=64", "--global-batch=8"]
    assert memory.footprint(words, 1).checkpoint == sum(each.numel() * each.element_size() for each in held)


@pytest.fixture(scope="module")
def mesh() -> Iterator[DeviceMesh]:
    """Ranks that exchange nothing: sizes of tensors are all that counts here."""
    dist.init_process_group("fake", rank=0, world_size=RANKS, store=FakeStore())
    try:
        yield init_device_mesh("cpu", (RANKS,), mesh_dim_names=("shard",))
    finally:
        dist.destroy_process_group()


def tracked(model: ModelConfiguration, recompute: str, mesh: DeviceMesh) -> dict[str, int]:
    """Return the bytes of a rank by kind at the end of the forward pass, of tensors without data."""
    words = [
        "--model=tiny",
        f"--sequence-length={TOKENS}",
        f"--global-batch={RANKS}",
        f"--recompute={recompute}",
    ]
    chosen = options.options(words)
    with FakeTensorMode():
        built = Decoder(model)
        for block in sharding.blocks(built):
            block.recompute = recompute != "none"
            if recompute == "selective":
                block.contexts = partial(create_selective_checkpoint_contexts, sharding._policy)
        sharding.shard(built, chosen, mesh)
        built.reset_tables(TOKENS, torch.device("cpu"))
        tokens = torch.zeros((1, TOKENS), dtype=torch.int64)
        tracker = FSDPMemTracker(built, optimisation.optimizer(built, chosen))
        tracker.track_inputs((tokens, tokens))
        with tracker:
            loss, _ = built(tokens, tokens, None)
            found = tracker.get_tracker_snapshot("current")[torch.device("cpu")]
            torch.autograd.backward(loss)
    return {str(getattr(kind, "name", kind)): size for kind, size in found.items()}


@pytest.mark.parametrize("recompute", ["full", "selective", "none"])
def test_a_rank_holds_the_computed_bytes(recompute: str, mesh: DeviceMesh) -> None:
    two, four = (tracked(replace(SMALL, layers=layers), recompute, mesh) for layers in (2, 4))
    per_layer = (four["ACT"] - two["ACT"]) / 2 / TOKENS
    expected = memory.kept_by_layer(SMALL, recompute, size=2)
    # On processors RMSNorm is no fused kernel: each of a layer's two keeps its input and output in float32 besides.
    unfused = 2 * (6 * SMALL.width + 4) if recompute == "none" else 0
    assert expected <= per_layer <= expected + unfused
    assert two["SHARDED_PARAM"] == memory.WEIGHT * memory.parameters(SMALL) / RANKS
    assert two["UNSHARDED_PARAM"] == 2 * memory.root_parameters(SMALL)


def test_of_experts_a_layer_keeps_its_input_where_all_is_computed_again() -> None:
    assert memory.kept_by_layer(TINY_EXPERTS, "full", size=2) == 2 * TINY_EXPERTS.width
    dense = memory.kept_by_layer(TINY, "none", size=2)
    assert memory.kept_by_layer(TINY_EXPERTS, "none", size=2) > dense
