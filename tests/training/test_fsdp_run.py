"""The fsdp workload for real: two ranks over gloo by the local renderer's very script."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.programs import ROOT, checkout, require_module
from tests.training.faults import SLOW, STEPS, FsdpRun
from workloads.registry import workload

require_module("torch", "make setup-train installs it")
require_module("numpy", "make setup-train installs it")

# How far losses may be apart where only the order of sums differs.
CLOSE = 1e-5


@pytest.fixture(scope="module")
def whole(whole_fsdp: FsdpRun) -> FsdpRun:
    return whole_fsdp


@pytest.mark.proof("fsdp", "local", "executed")
def test_the_loss_falls_and_every_step_is_reported(whole: FsdpRun) -> None:
    records = whole.records()
    assert [record["step"] for record in records] == list(range(1, STEPS + 1))
    assert records[-1]["loss"] < 0.75 * records[0]["loss"]
    assert all(float.fromhex(record["loss_hex"]) == record["loss"] for record in records)
    assert "starting: model=tiny parameters=119104 ranks=2 device=cpu precision=fp32" in whole.log
    assert f"done after step {STEPS}" in whole.log


def test_the_lines_match_the_workloads_pattern(whole: FsdpRun) -> None:
    pattern = re.compile(workload("fsdp").progress.pattern)
    lines = [line for line in whole.log.splitlines() if line.startswith("step=")]
    assert len(lines) == STEPS
    assert all(pattern.match(line) for line in lines)
    for name in ("tokens_per_second", "tflops", "mfu", "learning_rate", "gradient_norm"):
        assert all(f" {name}=" in line for line in lines)


def test_rates_are_the_samples_in_other_units(whole: FsdpRun) -> None:
    for record in whole.records():
        samples = record["samples_per_second"]
        assert record["tokens_per_second"] == pytest.approx(64 * samples, rel=1e-3)
        assert record["mfu"] == pytest.approx(record["tflops"] / 0.1, rel=1e-2)


def test_validation_is_held_out_and_reported(whole: FsdpRun) -> None:
    found = {
        record["step"]: record["validation_loss"] for record in whole.records() if "validation_loss" in record
    }
    assert list(found) == [20, 40, 60]
    assert found[60] < found[20]
    assert found[60] == pytest.approx(whole.records()[-1]["loss"], abs=0.6)


def test_prometheus_text_has_all_metrics(whole: FsdpRun) -> None:
    text = (whole.run_folder / "trainforge.prom").read_text(encoding="utf-8")
    values = dict(re.findall(r'^trainforge_(\w+)\{run="t1"\} (\S+)$', text, re.MULTILINE))
    assert values["step"] == values["checkpoint_step"] == str(STEPS)
    assert values["running"] == "0"
    assert float(values["validation_loss"]) < 5.6
    assert text.count("# TYPE") == len(values)


def test_the_newest_three_checkpoints_stay(whole: FsdpRun) -> None:
    assert [path.name for path in whole.checkpoints()] == [f"step-{step:09d}" for step in (40, 50, 60)]
    assert {path.name for path in whole.checkpoint_folder.iterdir()} == {
        path.name for path in whole.checkpoints()
    }


def test_other_options_on_resume_are_refused_by_name(whole: FsdpRun, tmp_path: Path) -> None:
    run = FsdpRun(tmp_path, "--sequence-length=32", "--seed=1")
    shutil.copytree(whole.run_folder, run.run_folder)
    assert run.run() != 0
    assert "sequence_length is '32' and was '64', seed is '1' and was '0'; use another run id" in run.log
    assert re.search(r"exitcode\s*:\s*2\b", run.log)
    assert run.losses() == whole.losses()


@pytest.mark.heavy
def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    run = FsdpRun(tmp_path, "--micro-batch=3")
    assert run.run() != 0
    assert "--global-batch 8 does not divide by 2 ranks of --micro-batch 3" in run.log
    assert "Traceback" not in run.log.split("torch/distributed/elastic")[0]


@pytest.mark.heavy
def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_saved(tmp_path: Path) -> None:
    run = FsdpRun(tmp_path, "--learning-rate=1e30", "--clip=1e30")
    assert run.run() != 0
    assert re.search(
        r"error: the loss is \S+ and the norm of the gradients nan at step \d+; 11 steps in a row were not finite",
        run.log,
    )
    assert "step 2 is skipped: the loss is " in run.log
    assert re.search(r"exitcode\s*:\s*65\b", run.log)
    assert run.checkpoints() == []


@pytest.mark.heavy
@pytest.mark.parametrize("recompute", ["none", "selective"])
def test_compiled_blocks_learn_the_same(whole: FsdpRun, tmp_path: Path, recompute: str) -> None:
    if checkout() != ROOT:
        pytest.skip("torch.compile's C++ compiler takes no path that has a space")
    run = FsdpRun(tmp_path, "--compile", f"--recompute={recompute}")
    assert run.run() == 0, run.log
    for step, loss in run.losses().items():
        assert float.fromhex(loss) == pytest.approx(float.fromhex(whole.losses()[step]), rel=1e-3)


@pytest.mark.heavy
def test_experts_resume_bit_for_bit_too(tmp_path: Path) -> None:
    words = ("--model=tiny-experts", "--steps=30")
    run = FsdpRun(tmp_path / "whole", *words)
    assert run.run() == 0, run.log
    resumed = FsdpRun(tmp_path / "cut", *words)
    shutil.copytree(run.run_folder, resumed.run_folder)
    shutil.rmtree(resumed.checkpoints()[-1])
    assert resumed.run() == 0, resumed.log
    assert "resuming after step 20 of 30" in resumed.log
    assert resumed.losses() == run.losses()


@pytest.mark.heavy
def test_streamed_text_resumes_bit_for_bit(tmp_path: Path) -> None:
    datasets = require_module("datasets", "make setup-train installs it")
    tokenizers = require_module("tokenizers", "make setup-train installs it")
    assert datasets
    words = {"</s>": 0, "<unk>": 1, **{f"w{number}": number + 2 for number in range(90)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "set").mkdir()
    for split in ("train", "validation"):
        for file in range(8):
            lines = (
                '{"text": "' + " ".join(f"w{(file * 7 + line + 3 * word) % 90}" for word in range(30)) + '"}'
                for line in range(60)
            )
            (tmp_path / "set" / f"{split}-{file}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    arguments = (
        *("--data=stream", f"--dataset={tmp_path / 'set'}", f"--tokenizer={tmp_path / 'tokenizer.json'}"),
        *("--steps=30", "--validate-every=15"),
    )
    run = FsdpRun(tmp_path / "whole", *arguments)
    assert run.run() == 0, run.log
    assert run.records()[-1]["loss"] < 0.8 * run.records()[0]["loss"]
    for ranks in (2, 1):
        resumed = FsdpRun(tmp_path / f"cut-{ranks}", *arguments, ranks=ranks)
        shutil.copytree(run.run_folder, resumed.run_folder)
        shutil.rmtree(resumed.checkpoints()[-1])
        assert resumed.run() == 0, resumed.log
        assert "resuming after step 20 of 30" in resumed.log
        if ranks == 2:
            assert resumed.losses() == run.losses()
        for step, loss in resumed.losses().items():
            assert float.fromhex(loss) == pytest.approx(float.fromhex(run.losses()[step]), abs=1e-5)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("words", "ranks", "furthest"),
    [
        (("--offload-parameters", "--recompute=full"), 2, 0.0),
        (("--micro-batch=1", "--replicas=2"), 4, CLOSE),
    ],
    ids=["host-memory", "replicas-of-shards"],
)
def test_what_saves_memory_may_change_from_start_to_start(
    whole: FsdpRun, tmp_path: Path, words: tuple[str, ...], ranks: int, furthest: float
) -> None:
    """From plain shards to another way of keeping them, and back: the run continues as if nothing had changed."""
    changed = FsdpRun(tmp_path, *words, "--synchronous-save", SLOW, ranks=ranks)
    shutil.copytree(whole.run_folder, changed.run_folder)
    shutil.rmtree(changed.checkpoints()[-1])
    process = changed.start()
    changed.wait_for(lambda: "step=55 loss=" in changed.log, "step 55")
    process.send_signal(signal.SIGUSR1)
    assert changed.wait(process) != 0
    assert re.search(r"stopped by signal 10 after step 5\d, which is saved", changed.log)
    back = FsdpRun(tmp_path)
    assert back.run() == 0, back.log
    assert "resuming after step 50 of 60" in back.log
    assert re.search(r"resuming after step 5[5-9] of 60", back.log)
    for step, loss in back.losses().items():
        assert float.fromhex(loss) == pytest.approx(float.fromhex(whole.losses()[step]), abs=furthest, rel=0)
