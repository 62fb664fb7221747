"""The workload megatron-lm for real, on processors: megatron-core's GPT on two ranks over gloo by the local script."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.training.framework_runs import FrameworkRun, framework
from workloads.registry import workload

Artifacts = Callable[[str], Path]


@pytest.fixture(scope="module")
def whole(artifacts: Artifacts) -> FrameworkRun:
    """A run that nobody interrupted: two copies of the model."""
    run = FrameworkRun("megatron-lm", "tiny", artifacts("megatron-lm-whole"))
    assert run.run() == 0, run.log
    return run


@pytest.mark.heavy
@pytest.mark.proof("megatron-lm", "local", "executed")
def test_the_loss_falls_and_the_last_rank_prints(whole: FrameworkRun) -> None:
    losses = whole.printed_losses()
    assert list(losses) == list(range(1, 21))
    assert losses[20] < losses[1] - 0.1
    assert whole.log.count(" iteration        7/      20 |") == 1
    checkpoints = whole.run_folder / "checkpoints"
    assert (checkpoints / "latest_checkpointed_iteration.txt").read_text(encoding="utf-8") == "20"
    assert {path.name for path in checkpoints.glob("iter_*")} == {f"iter_{n:07d}" for n in (10, 20)}


@pytest.mark.heavy
def test_its_metrics_have_the_names_of_all(whole: FrameworkRun) -> None:
    metrics = whole.metrics()
    assert (metrics["step"], metrics["consumed_samples"]) == (20, 160)
    assert metrics["loss"] == whole.printed_losses()[20]
    assert metrics["samples_per_second"] == pytest.approx(8000 / metrics["milliseconds_per_step"])
    assert metrics["tokens_per_second"] == pytest.approx(64 * metrics["samples_per_second"])


@pytest.mark.heavy
def test_tensor_parallel_ranks_train_the_same_model_and_a_killed_run_resumes(
    whole: FrameworkRun, artifacts: Artifacts
) -> None:
    """One copy of the model on two ranks has the weights and samples of two copies, so its losses are theirs.

    A rank is killed on the way, and the second start continues from the last checkpoint.
    """
    run = FrameworkRun(
        "megatron-lm", "tiny", artifacts("megatron-lm-killed"), "--tensor-model-parallel-size=2"
    )
    # The checkpoint of step 10 is whole when step 11 is reported.
    assert run.kill_at(run.start(), 11) != 0
    assert run.run() == 0, run.log
    assert "loaded the checkpoint of iteration 10" in run.log
    assert run.printed_losses() == pytest.approx(whole.printed_losses(), rel=1e-3)
    # What both starts trained is equal to the last digit.
    lines = [line for line in run.log.splitlines() if " iteration       11/      20 |" in line]
    said = {line.partition(" lm loss: ")[2] for line in lines}
    assert (len(lines), len(said)) == (2, 1)


@pytest.mark.heavy
def test_an_option_that_needs_a_gpu_is_final(artifacts: Artifacts) -> None:
    """The launch guard takes the exit code 2 of a rank for final."""
    done = subprocess.run(
        [
            *(str(framework("megatron-lm") / "bin" / "python"), "train.py"),
            *workload("megatron-lm").presets["tiny"].arguments,
            "--context-parallel-size=2",
        ],
        cwd=ROOT / "workloads" / "megatron_lm",
        env={**os.environ, "RUN_FOLDER": str(artifacts("megatron-lm-wrong"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("--context-parallel-size=2")) == (2, 1), done.stderr
