"""The workload cpu-ddp for real: two ranks over gloo by the local script, killed, stopped, damaged, and resumed."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ports import free_ports
from tests.programs import ROOT, require_module
from tests.progress_log import series
from tests.training.runs import DEADLINE_SECONDS, LocalRun
from workloads.registry import workload

require_module("torch", "make setup-train installs it")

STEPS = 60
SLOW = "--step-seconds=0.1"


@pytest.fixture(scope="module")
def whole(artifacts: Callable[[str], Path]) -> LocalRun:
    """An uninterrupted run."""
    run = LocalRun("cpu-ddp", "tiny", artifacts("cpu-ddp-whole"))
    assert run.run() == 0, run.log
    return run


@pytest.mark.proof("cpu-ddp", "local", "executed")
def test_the_loss_falls_and_every_step_is_reported(whole: LocalRun) -> None:
    records = whole.records()
    assert [record["step"] for record in records] == list(range(1, STEPS + 1))
    first, last = records[:5], records[-5:]
    assert sum(record["loss"] for record in last) < 0.5 * sum(record["loss"] for record in first)
    assert all(float.fromhex(record["loss_hex"]) == record["loss"] for record in records)
    assert "starting: ranks=2 device=cpu data=synthetic" in whole.log
    assert f"done after step {STEPS}" in whole.log


def test_the_lines_match_the_workloads_pattern_and_hold_the_very_loss(whole: LocalRun) -> None:
    pattern = re.compile(workload("cpu-ddp").progress.pattern)
    lines = [line for line in whole.log.splitlines() if line.startswith("step=")]
    assert len(lines) == STEPS
    assert all(pattern.fullmatch(line) for line in lines)
    printed = series(lines, pattern.pattern)["loss"]
    assert [loss.hex() for loss in printed] == list(whole.losses().values())


def test_prometheus_text_is_whole(whole: LocalRun) -> None:
    text = (whole.run_folder / "trainforge.prom").read_text(encoding="utf-8")
    values = dict(re.findall(r'^trainforge_(\w+)\{run="t1"\} (\S+)$', text, re.MULTILINE))
    assert values["step"] == str(STEPS)
    assert values["checkpoint_step"] == str(STEPS)
    assert float(values["loss"]).hex() == whole.losses()[STEPS]
    assert values["running"] == "0"
    assert text.count("# TYPE") == len(values)


def test_the_newest_three_checkpoints_stay(whole: LocalRun) -> None:
    assert [path.name[:14] for path in whole.checkpoints()] == [f"step-{step:09d}" for step in (40, 50, 60)]
    assert not list((whole.run_folder / "checkpoints").glob(".*"))


def test_a_finished_run_has_nothing_left_to_do(whole: LocalRun) -> None:
    before = whole.losses()
    assert whole.run() == 0
    assert "resuming after step 60 of 60" in whole.log
    assert whole.losses() == before


@pytest.mark.resuming("cpu-ddp")
def test_a_killed_rank_ends_the_run_and_the_next_start_equals_an_uninterrupted_one(
    whole: LocalRun, tmp_path: Path
) -> None:
    """Rank 0, which writes checkpoints and metrics; rank 1 is killed in the tests of fsdp."""
    run = LocalRun("cpu-ddp", "tiny", tmp_path, SLOW)
    process = run.start()
    run.wait_for_step(25)
    os.kill(run.ranks()[0], signal.SIGKILL)
    assert run.wait(process) != 0
    assert run.run() == 0, run.log
    assert "resuming after step 20 of 60" in run.log
    assert run.losses() == whole.losses()


def test_a_signal_saves_the_very_step_and_stops_all_ranks(whole: LocalRun, tmp_path: Path) -> None:
    """SIGUSR1, which torchrun forwards because it is told to; SIGTERM is sent in the tests of fsdp."""
    number = signal.SIGUSR1
    run = LocalRun("cpu-ddp", "tiny", tmp_path, SLOW)
    process = run.start()
    run.wait_for_step(13)
    # To the launcher, as a scheduler does; it hands it on.
    process.send_signal(number)
    assert run.wait(process) != 0
    stopped = json.loads((run.run_folder / "stopped.json").read_text(encoding="utf-8"))
    assert stopped["signal"] == number.name
    step = stopped["step"]
    assert 13 <= step < 25
    assert [record["step"] for record in run.records()][-1] == step
    assert f"step-{step:09d}" in run.checkpoints()[-1].name
    assert f"stopped by signal {int(number)} after step {step}, which is saved" in run.log
    assert "Traceback" not in run.log.split("torch/distributed/elastic")[0]
    assert run.run() == 0, run.log
    assert f"resuming after step {step} of 60" in run.log
    assert not (run.run_folder / "stopped.json").exists()
    assert run.losses() == whole.losses()


def test_a_signal_to_one_rank_stops_all(tmp_path: Path) -> None:
    run = LocalRun("cpu-ddp", "tiny", tmp_path, SLOW)
    process = run.start()
    run.wait_for_step(5)
    os.kill(run.ranks()[1], signal.SIGTERM)
    assert run.wait(process) != 0
    assert "which is saved; start again to resume" in run.log
    assert re.search(r"exitcode\s*:\s*75\b", run.log)


def copied(whole: LocalRun, folder: Path, newest: int, *arguments: str, ranks: int = 2) -> LocalRun:
    """Return a run in the state of the whole one after step `newest`."""
    run = LocalRun("cpu-ddp", "tiny", folder, *arguments, ranks=ranks)
    shutil.copytree(whole.run_folder, run.run_folder)
    for path in run.checkpoints():
        if path.name[:14] > f"step-{newest:09d}":
            path.unlink()
    return run


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(whole: LocalRun, tmp_path: Path) -> None:
    """Cut in half: tests/unit/test_runtime_checkpoint.py flips bits."""
    run = copied(whole, tmp_path, 50)
    newest = run.checkpoints()[-1]
    content = newest.read_bytes()
    newest.write_bytes(content[: len(content) // 2])
    assert run.run() == 0, run.log
    assert f"checkpoint '{newest.name}' is damaged; falling back to 'step-000000040" in run.log
    assert "resuming after step 40 of 60" in run.log
    assert run.losses() == whole.losses()
    assert newest.with_name(newest.name + ".damaged").exists()


@pytest.mark.heavy
def test_three_ranks_resume_bit_for_bit_too(tmp_path: Path) -> None:
    """With three, the order of sums depends on how the reducer lays its buckets."""
    arguments = ("--global-batch=33", "--hidden=700", "--checkpoint-every=5")
    whole = LocalRun("cpu-ddp", "tiny", tmp_path / "whole", *arguments, "--steps=20", ranks=3)
    assert whole.run() == 0, whole.log
    resumed = copied(whole, tmp_path / "cut", 15, *arguments, "--steps=20", ranks=3)
    assert resumed.run() == 0, resumed.log
    assert "resuming after step 15 of 20" in resumed.log
    assert resumed.losses() == whole.losses()


def test_another_number_of_ranks_takes_the_same_samples(whole: LocalRun, tmp_path: Path) -> None:
    run = copied(whole, tmp_path, 40, ranks=1)
    assert run.run() == 0, run.log
    assert "resuming on 1 ranks what ran on 2: equal but for rounding" in run.log
    for step in range(41, STEPS + 1):
        here, there = (float.fromhex(losses[step]) for losses in (run.losses(), whole.losses()))
        assert here == pytest.approx(there, rel=1e-4)


def test_other_options_on_resume_are_refused_by_name(whole: LocalRun, tmp_path: Path) -> None:
    run = copied(whole, tmp_path, 60, "--hidden=48", "--seed=1")
    assert run.run() != 0
    assert "hidden is '48' and was '32', seed is '1' and was '0'; use another run id" in run.log
    assert re.search(r"exitcode\s*:\s*2\b", run.log)
    assert run.losses() == whole.losses()


@pytest.mark.parametrize(
    ("words", "environment", "code", "told"),
    [
        (("--steps=0",), {}, 2, "'0' is not a whole number from 1"),
        (
            ("--global-batch=33",),
            {"WORLD_SIZE": ""},
            2,
            "variables WORLD_SIZE are not set; start this program with",
        ),
        (
            ("--data=mnist",),
            {"DATA_FOLDER": "/nonexistent"},
            66,
            "(or 'train-images-idx3-ubyte.gz') is not in",
        ),
        (("--device=cuda",), {}, 2, "has no GPU: torch sees 0 here"),
        ((), {"RUN_FOLDER": ""}, 2, "variable RUN_FOLDER is not set"),
    ],
)
def test_mistakes_are_reported_in_a_line(
    tmp_path: Path, words: tuple[str, ...], environment: dict[str, str], code: int, told: str
) -> None:
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "CUDA_VISIBLE_DEVICES": ""}
    place = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_ports(1)[0]),
        "RUN_FOLDER": str(tmp_path / "run"),
    }
    path = {"PYTHONPATH": str(ROOT / "workloads" / "runtime")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "workloads" / "cpu_ddp" / "train.py"), *words],
        env={**os.environ, **rank, **place, **path, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_whose_weights_overflow_leaves_no_checkpoint(tmp_path: Path) -> None:
    run = LocalRun("cpu-ddp", "tiny", tmp_path, "--learning-rate=1e37", "--checkpoint-every=1")
    assert run.run() != 0
    assert "error: weights are not finite after step 1, so no checkpoint of it is written" in run.log
    assert re.search(r"exitcode\s*:\s*65\b", run.log)
    assert run.checkpoints() == []


def mnist(folder: Path, count: int = 200) -> None:
    """Write files in MNIST's format: ten patterns, so that something can be learned."""
    labels = bytes(index % 10 for index in range(count))
    patterns = [bytes((pixel * (digit + 3)) % 256 for pixel in range(784)) for digit in range(10)]
    folder.mkdir(parents=True)
    images = struct.pack(">4I", 2051, count, 28, 28) + b"".join(patterns[label] for label in labels)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, count) + labels)


def test_mnist_is_taken_where_it_is_there(tmp_path: Path) -> None:
    run = LocalRun("cpu-ddp", "tiny", tmp_path)
    mnist(run.data_folder)
    assert run.run() == 0, run.log
    assert "data=mnist" in run.log
    losses = [record["loss"] for record in run.records()]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    # Without its data the same run must not resume with other samples.
    for path in run.data_folder.iterdir():
        path.unlink()
    assert run.run() != 0
    assert "data is 'synthetic' and was 'mnist'" in run.log
