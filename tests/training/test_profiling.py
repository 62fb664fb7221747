"""The capture of steps: torch's profiler for real on two ranks, from the launch to the report; nsys's marks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.programs import ROOT
from tests.training import fsdp_modules

torch = fsdp_modules.torch

from training.errors import TrainingError  # noqa: E402
from training.process_group import Ranks  # noqa: E402
from training.profiling import Capture  # noqa: E402

ONE = Ranks(0, 1, 0, torch.device("cpu"), None)  # type: ignore[arg-type]
DEADLINE_SECONDS = 300


@pytest.mark.parametrize(("workload", "collective"), [("cpu-ddp", "gloo:all_reduce"), ("fsdp", "gloo:")])
def test_a_launch_with_a_profile_leaves_traces_that_the_report_reads(
    tmp_path: Path, workload: str, collective: str
) -> None:
    words = [
        *(sys.executable, "-m", "cli.main", "launch", workload, "--preset", "tiny", "--on", "local"),
        *("--shared", str(tmp_path), "--run-id", "one", "--yes"),
        *("--profile", "torch", "--profile-steps", "4:6", "--profile-ranks", "all"),
    ]
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    run_folder = tmp_path / "runs" / workload / "one"
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"profile steps=4:6 folder={run_folder}/profile" in done.stdout
    assert sorted(path.name for path in (run_folder / "profile").iterdir()) == [
        "rank-0.json.gz",
        "rank-1.json.gz",
    ]
    # Of the run's folder the profiles alone are read.
    result = CliRunner().invoke(app, ["profile", "report", str(run_folder), "--json", "--no-picture"])
    assert result.exit_code == 0, result.output
    ranks = json.loads(result.output)["ranks"]
    assert [one["rank"] for one in ranks] == [0, 1]
    for one in ranks:
        assert (one["on"], list(one["steps"])) == ("CPU", ["4", "5", "6"])
        times = one["milliseconds"]
        assert 0 < times["compute"] < times["profile"]
        assert 0 < times["communication"] < times["profile"]
        assert any(each["name"].startswith(collective) for each in one["operations"])


def test_a_program_under_torchrun_starts_each_rank_by_an_nsys_of_its_own(tmp_path: Path) -> None:
    tool = tmp_path / "nsys"
    tool.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/$RANK.txt\nwhile [ "$1" != python3 ]; do shift; done\nexec "$@"\n'
    )
    tool.chmod(0o755)
    (tmp_path / "program.py").write_text("import os\nprint('rank', os.environ['RANK'])\n", encoding="utf-8")
    runtime = str(ROOT / "workloads" / "runtime")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"]
    done = subprocess.run(
        [*torchrun, "-m", "profiled_rank", "python3", str(tmp_path / "program.py")],
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PYTHONPATH": runtime,
            "RUN_FOLDER": str(tmp_path),
            "TRAINFORGE_PROFILE": "nsys",
            "TRAINFORGE_PROFILE_RANKS": "1",
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")) == ["", "rank 0", "rank 1"]
    [captured] = tmp_path.glob("*.txt")
    assert captured.name == "1.txt"
    assert f"--output={tmp_path}/profile/rank-1 python3" in captured.read_text(encoding="utf-8")


def asked(monkeypatch: pytest.MonkeyPatch, folder: Path, profiler: str, steps: str, ranks: str = "0") -> None:
    monkeypatch.setenv("RUN_FOLDER", str(folder))
    monkeypatch.setenv("TRAINFORGE_PROFILE", profiler)
    monkeypatch.setenv("TRAINFORGE_PROFILE_STEPS", steps)
    monkeypatch.setenv("TRAINFORGE_PROFILE_RANKS", ranks)


def steps_of(capture: Capture, first: int, last: int) -> None:
    for step in range(first, last + 1):
        capture.before(step)
        torch.ones(4).sum()
        capture.after(step)
    capture.close()


def captured_steps(folder: Path) -> list[str]:
    result = CliRunner().invoke(app, ["profile", "report", str(folder), "--json", "--no-picture"])
    return list(json.loads(result.output)["ranks"][0]["steps"])


def test_a_run_that_resumes_or_ends_within_the_steps_captures_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(monkeypatch, tmp_path, "torch", "3:5")
    steps_of(Capture(ONE, 9), 4, 9)
    assert captured_steps(tmp_path) == ["4", "5"]
    steps_of(Capture(ONE, 9), 1, 4)
    assert captured_steps(tmp_path) == ["3", "4"]


def test_other_ranks_and_runs_without_a_profile_capture_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(monkeypatch, tmp_path, "torch", "1:2", ranks="1-7")
    steps_of(Capture(ONE, 9), 1, 3)
    monkeypatch.delenv("TRAINFORGE_PROFILE")
    steps_of(Capture(ONE, 9), 1, 3)
    assert list(tmp_path.iterdir()) == []


def test_a_profile_that_cannot_be_written_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "profile").write_text("in the way", encoding="utf-8")
    asked(monkeypatch, tmp_path, "torch", "1:1")
    steps_of(Capture(ONE, 9), 1, 2)
    assert "the profile of rank 0 cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("profiler", "steps", "message"),
    [
        ("nsys", "1:2", "this run has none; take --profile torch"),
        ("nvprof", "1:2", "TRAINFORGE_PROFILE is 'nvprof'"),
        ("torch", "4:6", "the profile ends at step 6, and the run at 5"),
        ("torch", "5", "'5' is not FIRST:LAST"),
    ],
)
def test_a_profile_that_cannot_be_captured_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profiler: str, steps: str, message: str
) -> None:
    asked(monkeypatch, tmp_path, profiler, steps)
    with pytest.raises(TrainingError, match=message):
        Capture(ONE, 5)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (6, ["sync", "start", "push step 3", "sync", "pop", "push step 4", "sync", "pop", "stop"]),
        (3, ["sync", "start", "push step 3", "sync", "pop", "stop"]),
    ],
)
def test_nsys_captures_the_steps_that_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int, expected: list[str]
) -> None:
    """A run that ends within them stops the capture too. The profiler is a stub: this machine has no GPU."""
    asked(monkeypatch, tmp_path, "nsys", "3:4")
    told: list[str] = []
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "synchronize", lambda: told.append("sync"))
    monkeypatch.setattr(cuda.profiler, "start", lambda: told.append("start"))
    monkeypatch.setattr(cuda.profiler, "stop", lambda: told.append("stop"))
    monkeypatch.setattr(cuda.nvtx, "range_push", lambda name: told.append(f"push {name}"))
    monkeypatch.setattr(cuda.nvtx, "range_pop", lambda: told.append("pop"))
    capture = Capture(replace(ONE, device=torch.device("cuda", 0)), 9)
    for step in range(1, last + 1):
        capture.before(step)
        capture.after(step)
    capture.close()
    assert told == expected
