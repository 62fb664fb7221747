"""The workload bionemo for real: ESM-2 of transformers, two ranks over gloo by the local script, killed and resumed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from catalog.versions import TRANSFORMERS
from tests.programs import ROOT
from tests.training.framework_runs import FrameworkRun

Artifacts = Callable[[str], Path]


@dataclass(frozen=True)
class Resumed:
    """A run whose rank 1 was killed after step 18 of 20, and that was started again; checkpoints are every 10 steps.

    `before` has the losses of the first start. Steps 11 to 18 ran in both, without and after an interruption.
    """

    run: FrameworkRun
    before: dict[int, float]


@pytest.fixture(scope="module")
def resumed(artifacts: Artifacts) -> Resumed:
    """One run for all tests: importing transformers is most of a start."""
    run = FrameworkRun("bionemo", "tiny", artifacts("bionemo"), "--checkpoint-every=10", "--step-seconds=0.2")
    assert run.kill_at(run.start(), 18) != 0
    before = run.printed_losses()
    assert run.run() == 0, run.log
    return Resumed(run, before)


@pytest.mark.heavy
@pytest.mark.resuming("bionemo")
def test_a_killed_run_resumes_with_the_same_losses(resumed: Resumed) -> None:
    assert [*range(1, 19)] == [*resumed.before][:18]
    assert 20 not in resumed.before
    assert "resuming after step 10 of 20" in resumed.run.log
    # Each is printed with the digits that read back to the very same number.
    again = {record["step"]: record["loss"] for record in resumed.run.records()}
    assert [again[step] for step in range(1, 19)] == [resumed.before[step] for step in range(1, 19)]
    assert len(re.findall("^step=15 ", resumed.run.log, re.MULTILINE)) == 2


@pytest.mark.heavy
@pytest.mark.proof("bionemo", "local", "executed")
def test_the_loss_falls_below_that_of_a_guess(resumed: Resumed) -> None:
    losses = resumed.run.printed_losses()
    assert list(losses) == list(range(1, 21))
    # A guess among 33 tokens costs 3.5: the model has learned which of them are residues.
    assert losses[20] < losses[1] - 0.25
    assert "parameters=27690 ranks=2 device=cpu precision=fp32 data=synthetic" in resumed.run.log
    assert [path.name[:14] for path in resumed.run.checkpoints()] == ["step-000000010", "step-000000020"]


@pytest.mark.heavy
def test_its_metrics_have_the_names_of_all(resumed: Resumed) -> None:
    metrics = resumed.run.metrics()
    assert metrics["step"] == 20
    assert metrics["loss"] == resumed.run.printed_losses()[20]
    # Sequences of 64 tokens, 16 a step.
    assert metrics["tokens_per_second"] == pytest.approx(64 * metrics["samples_per_second"], rel=1e-3)
    assert metrics["seconds_per_step"] == pytest.approx(16 / metrics["samples_per_second"], rel=1e-3)
    assert metrics["tflops"] > 0


@pytest.mark.parametrize("file", ["requirements.txt", "environment.txt"])
def test_the_version_is_the_catalogs(file: str) -> None:
    text = (ROOT / "workloads" / "bionemo" / file).read_text(encoding="utf-8")
    assert f"transformers=={TRANSFORMERS}\n" in text
