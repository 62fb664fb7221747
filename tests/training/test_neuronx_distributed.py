"""neuronx-distributed's launch file with its placeholder program, two ranks over gloo; and the stage of tokens.

PyPI has no neuronx-distributed that does something, so NxD itself does not run here: these tests are of the launch
file, the run's folder, the contract of checkpoints, and the lines of steps.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.nxd_modules import FOLDER, RUNTIME
from tests.programs import require_module
from tests.progress_log import matching
from tests.training.runs import LocalRun
from workloads.registry import workload

require_module("torch", "make setup-train installs it")

Artifacts = Callable[[str], Path]
PATTERN = workload("neuronx-distributed").progress.pattern


def losses(run: LocalRun) -> dict[int, float]:
    """Return the loss of each step as its line says it, of the last start that took the step."""
    return {int(line["step"]): line["loss"] for line in matching(run.log, PATTERN)}


@pytest.fixture(scope="module")
def whole(artifacts: Artifacts) -> LocalRun:
    """A run that nobody interrupted."""
    run = LocalRun("neuronx-distributed", "tiny", artifacts("nxd-whole"))
    assert run.run() == 0, run.log
    return run


@pytest.mark.heavy
def test_the_placeholder_says_what_it_is_and_its_loss_falls(whole: LocalRun) -> None:
    assert whole.log.count("PLACEHOLDER: a linear regression on processors in place of NxD's program") == 1
    by_step = losses(whole)
    assert list(by_step) == list(range(20))
    assert by_step[19] < by_step[0] / 4
    # Of two checkpoints that stay, both are whole.
    kept = sorted(path.parent.name for path in (whole.run_folder / "checkpoints").glob("step_*/done"))
    assert kept == ["step_15", "step_20"]
    metrics = (whole.run_folder / "progress.prom").read_text(encoding="utf-8")
    assert re.search(r"^trainforge_progress_samples_per_second\{.*\} [0-9.]+", metrics, re.MULTILINE)


@pytest.mark.heavy
@pytest.mark.proof("neuronx-distributed", "local", "executed")
def test_a_killed_run_continues_from_the_newest_whole_checkpoint(
    whole: LocalRun, artifacts: Artifacts
) -> None:
    run = LocalRun("neuronx-distributed", "tiny", artifacts("nxd-killed"), "--max_steps=2000")
    process = run.start()
    run.wait_for(lambda: 12 in losses(run), "step 12")
    os.kill(run.ranks()[1], signal.SIGKILL)
    assert run.wait(process) != 0
    reached = max(losses(run))
    # What a save left that was cut off.
    (run.run_folder / "checkpoints" / "step_9999" / "model").mkdir(parents=True)
    again = LocalRun("neuronx-distributed", "tiny", run.folder, f"--max_steps={max(reached + 3, 20)}")
    before = len(run.log)
    assert again.run() == 0, again.log
    steps = [int(line["step"]) for line in matching(again.log[before:], PATTERN)]
    assert steps[0] > 0
    assert steps[0] % 5 == 0
    assert {step: loss for step, loss in losses(again).items() if step < 20} == losses(whole)


def start(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start a program of the workload's folder."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=FOLDER,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(RUNTIME), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_model_without_nxd_ends_with_a_message(tmp_path: Path) -> None:
    done = start("train.py", "--model=llama3-8b", RUN_FOLDER=str(tmp_path))
    assert done.returncode == 69
    assert "neuronx_distributed or NXD_SOURCES is missing" in done.stderr
    done = start("train.py", "--model=llama3-8b", "--task=export", RUN_FOLDER=str(tmp_path))
    assert done.returncode == 66
    assert "no whole checkpoint" in done.stderr


@pytest.mark.heavy
def test_synthetic_tokens_are_made_anew_at_each_start(tmp_path: Path) -> None:
    require_module("datasets", "make setup-train installs it")
    words = ("make_tokens.py", "synthetic", "--sequences=6", "--sequence-length=16")
    folder = tmp_path / "tokens"
    variables = {"SYNTHETIC_TOKENS": str(folder), "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = start(*words, **variables)
    assert done.returncode == 0, done.stderr
    assert f"6 sequences of 16 tokens in {folder}" in done.stdout
    import datasets

    rows = datasets.load_from_disk(str(folder))
    assert sorted(rows.column_names) == ["attention_mask", "input_ids", "labels"]
    assert {len(row["input_ids"]) for row in rows} == {16}
    assert rows[3]["labels"] == rows[3]["input_ids"] != rows[4]["input_ids"]
    more = start(*words[:2], "--sequences=7", words[3], **variables)
    assert more.returncode == 0, more.stderr
    assert len(datasets.load_from_disk(str(folder))) == 7
    assert len(rows) == 6, "a run that has the tokens before keeps them"
    assert not [*tmp_path.glob("*.cache")]
