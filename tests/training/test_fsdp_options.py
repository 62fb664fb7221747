"""Options of the fsdp workload: combinations, presets that its program takes, rates."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from catalog.instances import INSTANCES
from catalog.reference_types import CPU, GPU
from tests.training import fsdp_modules
from workloads.checks import check_run
from workloads.preset import Preset
from workloads.registry import workload
from workloads.spec import Run

torch = fsdp_modules.torch

from fsdp_trainer import optimisation, sharding  # noqa: E402
from fsdp_trainer.options import options  # noqa: E402
from fsdp_trainer.presets import MODELS  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.process_group import Ranks  # noqa: E402

FSDP = workload("fsdp")
ONE = Ranks(0, 1, 0, torch.device("cpu"), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", FSDP.presets.values(), ids=lambda preset: preset.name)
def test_the_program_takes_every_preset_on_its_type(preset: Preset) -> None:
    run = Run.on_type(FSDP, preset, preset.instance_type, preset.nodes)
    chosen = options(list(run.arguments))
    assert chosen.global_batch == preset.global_batch
    assert chosen.global_batch % (run.ranks * chosen.micro_batch) == 0
    assert not [finding for finding in check_run(run) if finding.is_error]
    assert preset.name.removesuffix("-c4") == chosen.model
    assert chosen.data == ("stream" if preset.name.endswith("-c4") else "synthetic")


def test_every_published_model_has_a_preset_and_one_on_c4() -> None:
    sizes = {model.name for model in MODELS.values() if model.published.parameters}
    assert set(FSDP.presets) == {*sizes, *(f"{name}-c4" for name in sizes), "tiny"}


def test_the_peak_of_the_type_is_reported_where_it_is_known() -> None:
    def told(instance_type: str) -> float | None:
        run = Run.on_type(FSDP, FSDP.reference, instance_type, 4)
        return options(list(run.arguments)).peak_tflops

    assert told(GPU) == INSTANCES[GPU].peak_tflops["bf16"]
    assert told(CPU) is None
    unknown = [
        name for name, facts in INSTANCES.items() if facts.has_gpus and "bf16" not in facts.peak_tflops
    ]
    assert unknown
    assert all(told(name) is None for name in unknown)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--stepz=1"], "unrecognized arguments: --stepz=1"),
        (["--step=1"], "unrecognized arguments: --step=1"),
        (["--model=llama"], "invalid choice: 'llama'"),
        (["--steps=0"], "'0' is not a whole number from 1"),
        (["--minimum-rate=2"], "'2' is not a number from 0 to 1"),
        (["--weight-decay=-1"], "'-1' is not a number from 0"),
        (["--sequence-length=513"], "longer than the context of tiny, 512 tokens"),
        (["--data=stream"], "--data stream needs --tokenizer"),
        (["--tokenizer=x"], "--tokenizer is for --data stream"),
        (["--offload-activations", "--recompute=full"], "nothing left to keep"),
    ],
)
def test_mistakes_are_refused_with_a_message(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        options([*words, *([] if "--steps" in str(words) else ["--warmup-steps=1"])])
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_all_contradicting_options_are_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(["--data=stream", "--sequence-length=9999", "--steps=3", "--warmup-steps=3"])
    told = capsys.readouterr().err
    assert "needs --tokenizer" in told
    assert "longer than the context" in told
    assert "--warmup-steps 3 must be fewer than --steps 3" in told


def test_what_makes_a_run_what_it_is_may_not_change_and_the_rest_may() -> None:
    base = options([])
    for name in ("micro_batch", "recompute", "keep", "log_every", "replicas", "compile"):
        assert name not in base.fixed()
    for name in ("model", "global_batch", "steps", "seed", "precision", "document_mask", "tokenizer"):
        assert name in base.fixed()
    assert base.fixed()["learning_rate"] == base.configuration.learning_rate
    assert options(["--learning-rate=1e-4"]).fixed()["learning_rate"] == 1e-4


def test_the_rate_grows_in_a_line_and_falls_along_a_cosine() -> None:
    chosen = options(["--steps=110", "--warmup-steps=10", "--learning-rate=2", "--minimum-rate=0.25"])
    rates = [optimisation.rate(chosen, step) for step in range(1, 111)]
    assert rates[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert rates[59] == pytest.approx((2 + 0.5) / 2)
    assert rates[-1] == pytest.approx(0.5)
    assert all(before > after for before, after in itertools.pairwise(rates[9:]))
    assert optimisation.rate(options(["--warmup-steps=0", "--learning-rate=2"]), 1) < 2


@pytest.mark.parametrize(("highest", "expected"), [(1.0, 1.0), (1000.0, 26.0)])
def test_gradients_are_scaled_and_then_clipped_together(highest: float, expected: float) -> None:
    model = torch.nn.Linear(2, 1)
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    model.bias.grad = torch.tensor([12.0])
    summed = optimisation.squares(model)
    assert summed.item() == pytest.approx(169)
    norm = optimisation.scale_and_clip(model, summed, torch.tensor(2.0).double(), highest)
    assert float(norm) == pytest.approx(26)
    found = torch.cat([model.weight.grad[0], model.bias.grad])
    assert float(found.norm()) == pytest.approx(expected, rel=1e-5)
    assert found[2] / found[0] == pytest.approx(4)


def test_norms_do_not_decay() -> None:
    norm, matrix = torch.nn.RMSNorm(4), torch.nn.Linear(4, 4, bias=False)
    groups = optimisation.optimizer(torch.nn.Sequential(norm, matrix), options([])).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert groups[1]["params"] == [norm.weight]


def test_replicas_that_do_not_divide_the_ranks_are_refused() -> None:
    with pytest.raises(TrainingError, match="--replicas 2 does not divide 3 ranks"):
        sharding.mesh(options(["--replicas=2"]), replace(ONE, count=3))


def test_float8_without_its_gpu_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"--float8 needs a GPU of compute capability 8.9"):
        sharding.build(options(["--float8"]), ONE)


def test_a_learning_rate_is_never_infinite() -> None:
    assert all(math.isfinite(model.learning_rate) and model.learning_rate > 0 for model in MODELS.values())
