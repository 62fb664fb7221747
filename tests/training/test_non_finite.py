"""Steps that are not finite, in both workloads: skipped by all ranks alike, never saved, and too many end the run."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.programs import ROOT
from tests.training import fsdp_modules

torch = fsdp_modules.torch

from fsdp_trainer import loop as fsdp  # noqa: E402
from fsdp_trainer.initialisation import local  # noqa: E402
from fsdp_trainer.options import Options, options  # noqa: E402
from fsdp_trainer.pretraining import Pretraining  # noqa: E402
from training import non_finite  # noqa: E402
from training.errors import DATA, TrainingError  # noqa: E402
from training.process_group import Ranks  # noqa: E402
from training.signals import StopSignal  # noqa: E402

WORDS = "--steps=20 --sequence-length=32 --precision=fp32 --warmup-steps=1 --checkpoint-every=5 --keep=9"


def chosen(*words: str) -> Options:
    return options([*WORDS.split(), *words])


def poison(model: torch.nn.Module, steps: dict[int, float], done: Callable[[], int]) -> None:
    """Multiply the loss, and so every gradient, of some steps."""
    forward = model.forward

    def poisoned(*words: Any) -> Any:
        loss, balance = forward(*words)
        return loss * steps.get(done() + 1, 1.0), balance

    model.forward = poisoned  # type: ignore[method-assign]


def weights(run: Pretraining) -> list[torch.Tensor]:
    found = [local(each).detach().clone() for each in run.model.parameters()]
    for moments in run.optimizer.state.values():
        found += [local(value).clone() for value in moments.values()]
    return found


def equal(here: list[torch.Tensor], there: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(here, there, strict=True))


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_skipped_step_changes_neither_weights_nor_moments(
    ranks: Ranks, tmp_path: Path, capsys: pytest.CaptureFixture[str], factor: float
) -> None:
    run = Pretraining(chosen(), ranks, tmp_path)
    poison(run.model, {3: factor}, lambda: run.done)
    run.step()
    run.step()
    before = weights(run)
    step = run.step()
    assert (step.applied, run.done, run.non_finite.in_a_row) == (False, 3, 1)
    assert equal(weights(run), before)
    assert "step 3 is skipped: the loss is" in capsys.readouterr().err
    step = run.step()
    assert step.applied
    assert math.isfinite(step.loss)
    assert (run.non_finite.in_a_row, run.non_finite.total) == (0, 1)
    assert not equal(weights(run), before)
    run.close()


def test_an_infinite_gradient_of_a_finite_loss_is_skipped_too(ranks: Ranks, tmp_path: Path) -> None:
    """A square root at 0: its value is finite, its slope is not."""
    run = Pretraining(chosen(), ranks, tmp_path)
    forward = run.model.forward
    run.model.forward = lambda *words: (  # type: ignore[method-assign]
        forward(*words)[0] + (run.model.norm.weight - run.model.norm.weight).sum().sqrt(),
        torch.zeros(()),
    )
    before = weights(run)
    step = run.step()
    assert math.isfinite(step.loss)
    assert not step.applied
    assert equal(weights(run)[: len(before)], before)
    run.close()


@pytest.mark.parametrize(("limit", "last"), [(0, 5), (2, 7)])
def test_one_step_more_than_allowed_ends_the_run(ranks: Ranks, tmp_path: Path, limit: int, last: int) -> None:
    training = fsdp.Training(chosen(f"--max-skipped-steps={limit}"), ranks, tmp_path, StopSignal())
    poison(training.run.model, dict.fromkeys(range(5, 21), math.nan), lambda: training.run.done)
    for _ in range(last - 1):
        training.advance()
    with pytest.raises(TrainingError, match=rf"at step {last}; {limit + 1} steps in a row") as caught:
        training.advance()
    assert caught.value.code == DATA
    assert not list(tmp_path.glob("checkpoints/step-*"))


def test_a_checkpoint_waits_for_a_step_that_is_applied(ranks: Ranks, tmp_path: Path) -> None:
    training = fsdp.Training(chosen("--log-every=5"), ranks, tmp_path, StopSignal())
    poison(training.run.model, {5: math.nan, 6: math.inf, 12: math.nan}, lambda: training.run.done)
    while not training.over:
        training.advance()
    training.close()
    names = sorted(path.name for path in tmp_path.glob("checkpoints/step-*"))
    assert names == [f"step-{step:09d}" for step in (7, 10, 15, 20)]
    told = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [int(re.search(r'"step": (\d+)', line)[1]) for line in told]  # type: ignore[index]
    assert steps == [7, 10, 15, 20]
    assert not any("NaN" in line or "Infinity" in line for line in told)


def test_a_stop_waits_for_a_step_that_is_applied(ranks: Ranks, tmp_path: Path) -> None:
    stop = StopSignal()
    training = fsdp.Training(chosen("--checkpoint-every=100"), ranks, tmp_path, stop)
    poison(training.run.model, {3: math.nan}, lambda: training.run.done)
    training.advance()
    training.advance()
    stop.received = 15
    while not training.over:
        training.advance()
    training.close()
    assert training.run.done == 4
    assert [path.name for path in tmp_path.glob("checkpoints/step-*")] == ["step-000000004"]


def test_a_run_that_ends_so_finishes_the_checkpoint_under_way(ranks: Ranks, tmp_path: Path) -> None:
    build = fsdp.Training.__init__

    def poisoned(self: fsdp.Training, *words: Any) -> None:
        build(self, *words)
        poison(self.run.model, dict.fromkeys(range(6, 21), math.nan), lambda: self.run.done)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fsdp.Training, "__init__", poisoned)
        with pytest.raises(TrainingError, match="at step 6; 1 steps in a row"):
            fsdp.train(chosen("--max-skipped-steps=0"), ranks, tmp_path, StopSignal())
    assert (tmp_path / "checkpoints" / "step-000000005" / "finished.json").exists()
    again = Pretraining(chosen(), ranks, tmp_path)
    assert again.done == 5
    assert all(bool(each.isfinite().all()) for each in weights(again))
    again.close()


def test_a_validation_that_fails_comes_after_the_save(
    ranks: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_self: Pretraining) -> float:
        raise TrainingError("the loss of the validation after step 5 is nan", DATA)

    monkeypatch.setattr(Pretraining, "validate", failing)
    with pytest.raises(TrainingError, match="the loss of the validation"):
        fsdp.train(chosen("--validate-every=5"), ranks, tmp_path, StopSignal())
    assert (tmp_path / "checkpoints" / "step-000000005" / "finished.json").exists()


def test_weights_that_are_not_finite_are_not_saved(ranks: Ranks, tmp_path: Path) -> None:
    run = Pretraining(chosen(), ranks, tmp_path)
    run.step()
    with torch.no_grad():
        local(run.model.embedding.weight)[0, 0] = math.inf
    with pytest.raises(TrainingError, match="weights are not finite after step 1") as caught:
        run.save(lambda _: None)
    assert caught.value.code == DATA
    assert not list(tmp_path.glob("checkpoints/*"))
    run.close()


@pytest.fixture
def cpu_ddp(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The program of cpu-ddp, under a name of its own: both workloads call theirs `train`."""
    path = ROOT / "workloads" / "cpu_ddp" / "train.py"
    spec = importlib.util.spec_from_file_location("cpu_ddp_train", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(path.parent)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def spoil(module: ModuleType, patch: pytest.MonkeyPatch, steps: set[int], batch: int) -> None:
    """Let some steps of cpu-ddp see images that are not numbers."""
    take = module.Synthetic.take

    def taken(self: Any, indices: range) -> Any:
        images, labels = take(self, indices)
        return (images * math.nan if indices[0] // batch + 1 in steps else images), labels

    patch.setattr(module.Synthetic, "take", taken)


def test_cpu_ddp_skips_and_saves_after_the_next_step(
    cpu_ddp: ModuleType, ranks: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--steps=12", "--global-batch=8", "--hidden=8", "--checkpoint-every=4", "--log-every=1"]
    spoil(cpu_ddp, monkeypatch, {4, 5, 9}, 8)
    done, _ = cpu_ddp.train(cpu_ddp.options([*words, "--keep=9"]), ranks, tmp_path, StopSignal())
    assert done == 12
    names = sorted(path.name[:14] for path in tmp_path.glob("checkpoints/step-*"))
    assert names == ["step-000000006", "step-000000008", "step-000000012"]
    for path in tmp_path.glob("checkpoints/step-*"):
        saved = torch.load(path, weights_only=True)
        assert all(bool(each.isfinite().all()) for each in saved["model"].values()), path


def test_cpu_ddp_ends_after_too_many(
    cpu_ddp: ModuleType, ranks: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--steps=12", "--global-batch=8", "--hidden=8", "--checkpoint-every=1", "--max-skipped-steps=1"]
    spoil(cpu_ddp, monkeypatch, {4, 5, 6}, 8)
    with pytest.raises(TrainingError, match="at step 5; 2 steps in a row were not finite") as caught:
        cpu_ddp.train(cpu_ddp.options(words), ranks, tmp_path, StopSignal())
    assert caught.value.code == DATA
    newest = max(path.name[:14] for path in tmp_path.glob("checkpoints/step-*"))
    assert newest == "step-000000003"


@pytest.mark.parametrize(
    ("loss", "norm", "applied"),
    [
        (1.0, 1.0, True),
        (0.0, 1e300, True),
        (math.nan, 1.0, False),
        (1.0, math.nan, False),
        (math.inf, 1.0, False),
        (1.0, -math.inf, False),
    ],
)
def test_what_is_finite_is_applied(loss: float, norm: float, applied: bool) -> None:
    steps = non_finite.NonFiniteSteps(5, prints=False)
    assert steps.admit(1, loss, norm) is applied
    assert steps.total == steps.in_a_row == (0 if applied else 1)
