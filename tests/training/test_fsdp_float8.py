"""float8 with the real torchao, in its emulation for processors: what becomes float8, and what is learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.programs import require_module
from tests.training import fsdp_modules

torch = fsdp_modules.torch
float8 = require_module("torchao.float8", "make setup-train installs it")

from fsdp_trainer import sharding  # noqa: E402
from fsdp_trainer.options import Options, options  # noqa: E402
from fsdp_trainer.pretraining import Pretraining  # noqa: E402
from training.process_group import Ranks  # noqa: E402

BASE = options(["--steps=20", "--warmup-steps=2", "--sequence-length=64", "--learning-rate=0.003"])
ATTENTION = [f"attention.{name}" for name in ("query", "key", "value", "output")]
FEED_FORWARD = [f"feed_forward.{name}" for name in ("gate", "up", "down")]


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a GPU with float8 where the code checks for one, and compute as torchao would."""
    convert, replace_linear = float8.convert_to_float8_training, sharding._to_float8
    emulation = float8.Float8LinearConfig(emulate=True)

    def emulating(model: torch.nn.Module, module_filter_fn: Any) -> torch.nn.Module:
        converted: torch.nn.Module = convert(model, module_filter_fn=module_filter_fn, config=emulation)
        return converted

    def on_gpu(decoder: Any, ranks: Ranks) -> None:
        replace_linear(decoder, replace(ranks, device=torch.device("cuda", 0)))

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    monkeypatch.setattr(float8, "convert_to_float8_training", emulating)
    monkeypatch.setattr(sharding, "_to_float8", on_gpu)


def trained(chosen: Options, ranks: Ranks, folder: Path) -> tuple[Pretraining, list[float]]:
    run = Pretraining(chosen, ranks, folder)
    losses = []
    while run.done < chosen.steps:
        losses.append(run.step().loss)
    run.save(lambda _: None)
    run.finish_save(lambda _: None)
    run.close()
    return run, losses


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize(
    ("model", "parts"), [("tiny", [*ATTENTION, *FEED_FORWARD]), ("tiny-experts", ATTENTION)]
)
def test_blocks_products_are_float8_and_the_model_learns_the_same(
    ranks: Ranks, tmp_path: Path, model: str, parts: list[str]
) -> None:
    """Routers, experts' stacked matrices, the embedding and the output stay as they are."""
    plain, expected = trained(replace(BASE, model=model), ranks, tmp_path / "plain")
    chosen = replace(BASE, model=model, float8=True, recompute="selective")
    run, losses = trained(chosen, ranks, tmp_path / "float8")
    found = [name for name, module in run.model.named_modules() if type(module).__name__ == "Float8Linear"]
    assert found == [f"blocks.{block}.{part}" for block in range(2) for part in parts]
    assert losses != expected
    assert losses == pytest.approx(expected, rel=0.01)
    assert losses[-1] < 0.85 * losses[0]
    # Names are those of the plain model, so checkpoints and first weights are too.
    assert [name for name, _ in run.model.named_parameters()] == [
        name for name, _ in plain.model.named_parameters()
    ]
    again = Pretraining(chosen, ranks, tmp_path / "float8")
    again.close()
    assert again.done == chosen.steps
