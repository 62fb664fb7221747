"""The workload bionemo for real: ESM-2 of transformers, two ranks over gloo by the local script, killed and resumed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.versions import TRANSFORMERS
from tests.programs import ROOT
from tests.training.framework_runs import FrameworkRun

Artifacts = Callable[[str], Path]


@pytest.fixture(scope="module")
def whole(artifacts: Artifacts) -> FrameworkRun:
    """A run that nobody interrupted."""
    run = FrameworkRun("bionemo", "tiny", artifacts("bionemo-whole"))
    assert run.run() == 0, run.log
    return run


@pytest.mark.heavy
@pytest.mark.proof("bionemo", "local", "executed")
def test_the_loss_falls_below_that_of_a_guess(whole: FrameworkRun) -> None:
    losses = whole.printed_losses()
    assert list(losses) == list(range(1, 21))
    # A guess among 33 tokens costs 3.5: the model has learned which of them are residues.
    assert losses[20] < losses[1] - 0.25
    assert "parameters=27690 ranks=2 device=cpu precision=fp32 data=synthetic" in whole.log
    assert [path.name[:14] for path in whole.checkpoints()] == [f"step-{step:09d}" for step in (10, 15, 20)]


@pytest.mark.heavy
def test_its_metrics_have_the_names_of_all(whole: FrameworkRun) -> None:
    metrics = whole.metrics()
    assert metrics["step"] == 20
    assert metrics["loss"] == whole.printed_losses()[20]
    # Sequences of 64 tokens, 16 a step.
    assert metrics["tokens_per_second"] == pytest.approx(64 * metrics["samples_per_second"], rel=1e-3)
    assert metrics["seconds_per_step"] == pytest.approx(16 / metrics["samples_per_second"], rel=1e-3)
    assert metrics["tflops"] > 0


@pytest.mark.heavy
def test_a_killed_run_resumes_with_the_same_losses(whole: FrameworkRun, artifacts: Artifacts) -> None:
    run = FrameworkRun("bionemo", "tiny", artifacts("bionemo-killed"), "--step-seconds=0.1")
    assert run.kill_at(run.start(), 12) != 0
    assert 20 not in run.printed_losses()
    assert run.run() == 0, run.log
    assert re.search(r"resuming after step 1[05] of 20", run.log)
    assert run.losses() == whole.losses()


@pytest.mark.parametrize("file", ["requirements.txt", "environment.txt"])
def test_the_version_is_the_catalogs(file: str) -> None:
    text = (ROOT / "workloads" / "bionemo" / file).read_text(encoding="utf-8")
    assert f"transformers=={TRANSFORMERS}\n" in text
