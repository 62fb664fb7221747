"""The fsdp workload's decoder: sizes, arithmetic, first loss, and each part against a plainer way to compute it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.training import fsdp_modules

torch = fsdp_modules.torch

from fsdp_trainer import arithmetic, attention, rotary, sharding  # noqa: E402
from fsdp_trainer import decoder as decoder_module  # noqa: E402
from fsdp_trainer.configuration import Experts, ModelConfiguration  # noqa: E402
from fsdp_trainer.decoder import IGNORED, Block, Decoder, positions  # noqa: E402
from fsdp_trainer.feed_forward import ExpertLayer  # noqa: E402
from fsdp_trainer.initialisation import deviation_of, initialise  # noqa: E402
from fsdp_trainer.presets import LLAMA3_1_8B, LLAMA3_2_1B, MODELS, TINY, TINY_EXPERTS  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

PUBLISHED = [model for model in MODELS.values() if model.published.parameters is not None]
LENGTH = 48


def built(model: ModelConfiguration, length: int = LENGTH) -> Decoder:
    decoder = Decoder(model)
    initialise(decoder, seed=0)
    decoder.reset_tables(length, torch.device("cpu"))
    return decoder


def tokens(
    model: ModelConfiguration, batch: int = 2, length: int = LENGTH
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(model.vocabulary, (batch, length + 1), generator=generator)
    return drawn[:, :-1], drawn[:, 1:]


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_a_model_has_as_many_parameters_as_its_makers_say(model: ModelConfiguration) -> None:
    with torch.device("meta"):
        decoder = Decoder(model)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == model.published.parameters


def test_every_size_but_our_own_has_a_published_count_and_a_source() -> None:
    assert {model.name for model in MODELS.values()} - {model.name for model in PUBLISHED} == {
        "tiny",
        "tiny-experts",
    }
    assert all(model.published.source for model in MODELS.values())


@pytest.mark.parametrize(
    "model", [TINY, TINY_EXPERTS, replace(TINY, tied=True)], ids=["dense", "experts", "tied"]
)
def test_the_formula_counts_what_torch_counts(model: ModelConfiguration) -> None:
    decoder = built(model)
    inputs, targets = tokens(model)
    # The plain way of attention is made of products that the counter sees; fused ones hide recomputation in them.
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        loss, balance = decoder(inputs, targets)
        torch.autograd.backward(loss + balance)
    assert counted.get_total_flops() == arithmetic.per_token(model, LENGTH) * inputs.numel()


def test_the_arithmetic_of_a_large_model_is_near_six_times_its_parameters() -> None:
    assert LLAMA3_1_8B.published.parameters is not None
    count = LLAMA3_1_8B.published.parameters - LLAMA3_1_8B.vocabulary * LLAMA3_1_8B.width
    assert arithmetic.per_token(LLAMA3_1_8B, 0) == pytest.approx(6 * count, rel=1e-4)
    assert arithmetic.mfu(arithmetic.per_token(LLAMA3_1_8B, 8192) * 1000.0, 100.0) == pytest.approx(
        0.58, abs=0.01
    )


WIDE = [
    pytest.param(TINY, id="tiny"),
    pytest.param(TINY_EXPERTS, id="tiny-experts"),
    # A tied matrix and an output of the real widths. How many tokens there are changes no logit.
    pytest.param(
        replace(LLAMA3_2_1B, layers=1, vocabulary=16000), id="llama3-2-1b-width-tied", marks=pytest.mark.heavy
    ),
    pytest.param(
        replace(LLAMA3_1_8B, layers=1, vocabulary=8000), id="llama3-1-8b-width", marks=pytest.mark.heavy
    ),
]


@pytest.mark.parametrize("model", WIDE)
def test_the_first_loss_is_that_of_a_guess(model: ModelConfiguration) -> None:
    decoder = built(model)
    inputs, targets = tokens(model)
    with torch.no_grad():
        loss, _ = decoder(inputs, targets)
    assert float(loss) / targets.numel() == pytest.approx(math.log(model.vocabulary), rel=0.02)


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_the_output_begins_small_enough_for_that_at_every_width(model: ModelConfiguration) -> None:
    """A logit's variance v adds v / 2 to the loss of a guess."""
    name = "embedding.weight" if model.tied else "output.weight"
    added = deviation_of(name, model) ** 2 * model.width / 2
    assert added < 0.02 * math.log(model.vocabulary)


def test_weights_are_what_their_names_and_the_seed_say() -> None:
    first, second = built(TINY), built(TINY)
    for (name, here), there in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(here, there)
        if not name.endswith("norm.weight"):
            assert float(here.detach().std()) == pytest.approx(deviation_of(name, TINY), rel=0.1)
            assert float(here.detach().abs().max()) <= 3.001 * deviation_of(name, TINY)
    other = Decoder(TINY)
    initialise(other, seed=1)
    assert not torch.equal(other.embedding.weight, first.embedding.weight)
    blocks = [block for block in first.blocks if isinstance(block, Block)]
    assert not torch.equal(blocks[0].attention.query.weight, blocks[1].attention.query.weight)


def test_documents_that_are_packed_are_learnt_as_if_each_were_alone() -> None:
    decoder = built(TINY)
    inputs, targets = tokens(TINY, batch=1)
    documents = torch.zeros_like(inputs)
    documents[:, 20:] = 1
    targets = targets.clone()
    targets[:, 19] = IGNORED
    together, _ = decoder(inputs, targets, documents)
    first, _ = decoder(inputs[:, :20], targets[:, :20])
    second, _ = decoder(inputs[:, 20:], targets[:, 20:])
    assert together.item() == pytest.approx(first.item() + second.item(), rel=1e-6)
    unmasked, _ = decoder(inputs, targets)
    assert abs(unmasked.item() - together.item()) > 1e-4


def test_positions_restart_with_each_document() -> None:
    documents = torch.tensor([[0, 0, 0, 1, 2, 2]])
    assert positions(documents).tolist() == [[0, 1, 2, 0, 0, 1]]
    mask = attention.visible(documents, packed=False).mask
    assert mask is not None
    assert mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


def by_document(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    borders: torch.Tensor,
    also: torch.Tensor,
    longest: int,
    also_longest: int,
    *,
    window_size: tuple[int, int],
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Do what torch's kernel does, a document after the other; tensors are (tokens, heads, width)."""
    assert borders is also
    assert borders.dtype == torch.int32
    assert window_size == (-1, 0)
    sizes = borders.diff().tolist()
    assert int(borders[0]) == 0
    assert sum(sizes) == len(query)
    assert max(sizes) <= longest == also_longest
    parts = [
        functional.scaled_dot_product_attention(
            *(each.transpose(0, 1)[None] for each in document), is_causal=True, enable_gqa=enable_gqa
        )[0].transpose(0, 1)
        for document in zip(query.split(sizes), key.split(sizes), value.split(sizes), strict=True)
    ]
    return torch.cat(parts)


def by_document_with_equal_heads(*words: Any, window_size: tuple[int, int]) -> torch.Tensor:
    """Do the same, as the versions of torch that have no option for grouped queries."""
    assert words[0].shape == words[1].shape == words[2].shape
    return by_document(*words, window_size=window_size)


@pytest.mark.parametrize("kernel", [by_document, by_document_with_equal_heads])
def test_packed_documents_are_learnt_as_with_a_mask(
    monkeypatch: pytest.MonkeyPatch, kernel: Callable[..., torch.Tensor]
) -> None:
    """Losses and gradients, for sequences whose documents begin and end where they like."""
    inputs, targets = tokens(TINY, batch=3)
    borders = [[20, 21, 40], [], [1, 30]]
    documents = torch.stack(
        [
            sum(((torch.arange(LENGTH) >= border).long() for border in row), torch.zeros(LENGTH).long())
            for row in borders
        ]
    )
    found = []
    for packed in (False, True):
        monkeypatch.setattr(decoder_module, "packs", lambda *_, packed=packed: packed)
        monkeypatch.setattr(attention, "KERNEL", attention.kernel_of(kernel))
        decoder = built(TINY)
        loss, _ = decoder(inputs, targets, documents)
        torch.autograd.backward(loss)
        found.append([loss.detach(), *(each.grad for each in decoder.parameters())])
    for masked, cut in zip(*found, strict=True):
        torch.testing.assert_close(cut, masked, rtol=1e-5, atol=1e-6)


@pytest.fixture
def installed_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel of the installed torch, which one that is built without GPUs has too."""
    if attention.KERNEL is None:
        assert attention.packed_operation() is None
        monkeypatch.setattr(attention, "KERNEL", attention.installed())


def test_torch_takes_the_call_for_packed_documents(installed_kernel: None) -> None:
    """By torch's own description of the operation, for there is no GPU here: the options and the shapes are its own."""
    if attention.KERNEL is None:
        return
    shapes = [torch.empty(96, heads, 64, dtype=torch.bfloat16, device="meta") for heads in (8, 2, 2)]
    borders = torch.empty(5, dtype=torch.int32, device="meta")
    assert attention._packed(*shapes, borders, 48).shape == (96, 8, 64)
    assert attention.packed_operation() in sharding.kept()


def test_compiled_blocks_take_the_call_for_packed_documents(installed_kernel: None) -> None:
    """In one graph, forward and backward: what torch cannot trace would cut each block in two."""
    if attention.KERNEL is None:
        return
    compiled = torch.compile(attention.attention_output, backend="aot_eager", fullgraph=True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        query, key = (
            torch.empty(2, LENGTH, heads, 16, dtype=torch.bfloat16, requires_grad=True) for heads in (4, 2)
        )
        found = compiled(query, key, key, attention.Visible(borders=torch.empty(5, dtype=torch.int32)))
        torch.autograd.backward(found.float().sum())
        assert found.shape == query.shape
        assert query.grad is not None
        assert key.grad is not None


def test_processors_and_other_numbers_take_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnGpu:
        is_cuda = True
        device = None

        def __init__(self, dtype: torch.dtype) -> None:
            self.dtype = dtype

    monkeypatch.setattr(attention, "KERNEL", attention.kernel_of(by_document))
    for capability, dtype, head, expected in (
        ((8, 0), torch.bfloat16, 128, True),
        ((9, 0), torch.float16, 256, True),
        ((7, 5), torch.bfloat16, 128, False),
        ((9, 0), torch.float32, 128, False),
        ((9, 0), torch.bfloat16, 512, False),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        assert attention.packs(OnGpu(dtype), head) is expected  # type: ignore[arg-type]
    assert not attention.packs(torch.zeros(1, dtype=torch.bfloat16), 128)


def test_a_token_does_not_see_what_follows() -> None:
    decoder = built(TINY)
    inputs, targets = tokens(TINY, batch=1)
    targets = targets.clone()
    targets[:, 20:] = IGNORED
    before, _ = decoder(inputs, targets)
    changed = inputs.clone()
    changed[:, 20:] = (changed[:, 20:] + 7) % TINY.vocabulary
    after, _ = decoder(changed, targets)
    assert before.item() == after.item()


def test_attention_is_the_documented_sum() -> None:
    """Head by head, with each key-value head serving its group of query heads."""
    layer = built(TINY).blocks[0].attention
    hidden = torch.randn(1, LENGTH, TINY.width, generator=torch.Generator().manual_seed(2))
    cosines, sines = rotary.tables(TINY, LENGTH)
    group = TINY.heads // TINY.key_value_heads
    query = rotary.turned(layer.query(hidden).view(1, LENGTH, -1, TINY.head), cosines, sines)[0]
    key = rotary.turned(layer.key(hidden).view(1, LENGTH, -1, TINY.head), cosines, sines)[0]
    value = layer.value(hidden).view(1, LENGTH, -1, TINY.head)[0]
    later = torch.ones(LENGTH, LENGTH).triu(1).bool()
    heads = []
    for head in range(TINY.heads):
        scores = query[:, head] @ key[:, head // group].T / math.sqrt(TINY.head)
        heads.append(scores.masked_fill(later, -math.inf).softmax(-1) @ value[:, head // group])
    expected = layer.output(torch.cat(heads, dim=-1))
    torch.testing.assert_close(layer(hidden, cosines, sines, attention.Visible())[0], expected)


def test_rotation_keeps_lengths_and_depends_on_distances_only() -> None:
    cosines, sines = rotary.tables(TINY, 32)
    generator = torch.Generator().manual_seed(3)
    drawn = (torch.randn(TINY.head, generator=generator).repeat(1, 32, 1, 1) for _ in range(2))
    query, key = (rotary.turned(heads, cosines, sines)[0, :, 0] for heads in drawn)
    products = query @ key.T
    assert products[5, 2] == pytest.approx(float(products[25, 22]), rel=1e-4)
    assert products[5, 2] != pytest.approx(float(products[5, 3]), rel=1e-4)
    torch.testing.assert_close(query.norm(dim=-1), query.norm(dim=-1)[:1].expand(32))


def test_llama_3_1_slows_long_waves_alone() -> None:
    scaling = LLAMA3_1_8B.rope_scaling
    assert scaling is not None
    scaled, plain = (
        rotary.frequencies(model) for model in (LLAMA3_1_8B, replace(LLAMA3_1_8B, rope_scaling=None))
    )
    waves = 2 * math.pi / plain
    short, long = waves < scaling.original_context / 4, waves > scaling.original_context
    assert short.any()
    assert long.any()
    assert not (short | long).all()
    assert torch.equal(scaled[short], plain[short])
    torch.testing.assert_close(scaled[long], plain[long] / 8)
    between = (scaled / plain)[~(short | long)]
    assert ((between > 1 / 8) & (between < 1)).all()
    assert (scaled.diff() < 0).all()


def test_experts_are_the_weighted_sum_of_the_chosen_few() -> None:
    experts = Experts(count=4, chosen=2)
    model = replace(TINY, experts=experts)
    layer = built(model).blocks[0].feed_forward
    assert isinstance(layer, ExpertLayer)
    hidden = torch.randn(2, 12, model.width, generator=torch.Generator().manual_seed(4))
    output, balance = layer(hidden)
    gates, ups = (matrix.view(4, model.feed_forward, model.width) for matrix in (layer.gate, layer.up))
    downs = layer.down.view(4, model.width, model.feed_forward)
    for row in range(2):
        for place in range(12):
            token = hidden[row, place]
            scores = layer.router(token)
            best = scores.topk(2).indices
            weights = scores[best].softmax(-1)
            parts = [
                downs[expert] @ (functional.silu(gates[expert] @ token) * (ups[expert] @ token))
                for expert in best
            ]
            torch.testing.assert_close(output[row, place], weights[0] * parts[0] + weights[1] * parts[1])
    # Even use of all experts costs 1 a sequence, all tokens on the same ones up to count / chosen.
    assert 2 * 0.95 <= balance.item() <= 2 * 2


def test_an_expert_without_tokens_has_gradients_too() -> None:
    """A rank whose tokens all go elsewhere takes part in the sum over ranks like any other."""
    model = replace(TINY, experts=Experts(count=4, chosen=1))
    layer = built(model).blocks[0].feed_forward
    assert isinstance(layer, ExpertLayer)
    with torch.no_grad():
        layer.router.weight.zero_()
    output, _ = layer(torch.randn(1, 6, model.width))
    torch.autograd.backward(output.sum())
    assert layer.gate.grad is not None
    used = layer.gate.grad.view(4, -1).abs().sum(1) > 0
    assert used.sum() == 1


def test_logits_in_chunks_give_the_same_loss_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, targets = tokens(TINY)
    gradients = []
    for chunk in (4096, 10):
        monkeypatch.setattr("fsdp_trainer.decoder.LOSS_TOKENS", chunk)
        decoder = built(TINY)
        loss, _ = decoder(inputs, targets)
        torch.autograd.backward(loss)
        assert decoder.output is not None
        gradients.append((loss.detach(), decoder.output.weight.grad, decoder.embedding.weight.grad))
    for whole, cut in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, cut)
