"""The workload megatron-lm for real, on processors: megatron-core's GPT on two ranks over gloo by the local script."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.training.framework_runs import FrameworkRun, framework

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
@pytest.mark.resuming("megatron-lm")
def test_tensor_parallel_ranks_train_the_same_model_and_a_killed_run_resumes(
    whole: FrameworkRun, artifacts: Artifacts
) -> None:
    """One copy of the model on two ranks has the weights and samples of two copies, so its losses are theirs.

    A rank is killed between two checkpoints, and the second start continues from the first of them.
    """
    run = FrameworkRun(
        "megatron-lm", "tiny", artifacts("megatron-lm-killed"), "--tensor-model-parallel-size=2"
    )
    # The checkpoint of step 10 is whole when step 11 is reported.
    assert run.kill_at(run.start(), 12) != 0
    first = run.log
    before = _lines(first)
    assert run.run() == 0, run.log
    resumed = run.log.removeprefix(first)
    assert "loaded the checkpoint of iteration 10" in resumed
    after = _lines(resumed)
    assert list(after) == list(range(11, 21))
    # Loss and norm of the gradients of a step that both starts took have equal digits.
    both = {step: line for step, line in before.items() if step > 10}
    assert {11, 12} <= set(both)
    assert both == {step: after[step] for step in both}
    assert run.printed_losses() == pytest.approx(whole.printed_losses(), rel=1e-3)


def _lines(log: str) -> dict[int, str]:
    """Return of each step's line what follows the time that it took."""
    return {
        int(match[1]): match[2]
        for match in re.finditer(r"^ \[.*\] iteration +(\d+)/.* \| (learning rate: .*)$", log, re.MULTILINE)
    }


STAGE = """
import runpy, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import tokenizers
words = {"<|end_of_text|>": 0, "a": 1, "b": 2, "?": 3}
own = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="?"))
own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
Path("own").mkdir()
own.save("own/tokenizer.json")
Path("text.jsonl").write_text('{"text": "a b"}\\n{"text": "b b a"}\\n')
sys.argv = ["make_tokens.py", "--tokenizer=own", "--text=text.jsonl"]
try:
    runpy.run_path(sys.path[1] + "/make_tokens.py", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
from megatron.core.datasets.indexed_dataset import IndexedDataset
read = IndexedDataset("tokens/text_document")
print([document.tolist() for document in read])
"""
"""The stage `tokens` of nemo-run, and what Megatron-Core reads of it; PYTHONPATH begins with the workload's folder."""


@pytest.mark.heavy
def test_megatron_core_reads_the_tokens_of_nemo_runs_stage(artifacts: Artifacts) -> None:
    folder = artifacts("nemo-run-tokens")
    path = f"{ROOT / 'workloads' / 'nemo_run'}:{ROOT / 'workloads' / 'runtime'}"
    done = subprocess.run(
        [str(framework("megatron-lm") / "bin" / "python"), "-c", STAGE],
        cwd=folder,
        env={**os.environ, "NEMO_TOKENS": str(folder / "tokens"), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[1, 2, 0], [2, 2, 1, 0]]
    assert "done: 7 tokens in" in done.stdout
