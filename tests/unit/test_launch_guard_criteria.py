"""The launch guard on a program's metrics: a benchmark's verdict, the values in the run's folder and in messages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.guarded_node import GUARD, TIMEOUT_SECONDS

PATTERN = r"--progress=^ *(?P<size>[0-9]+) +(?P<busbw>[0-9.]+) GB/s"
BENCHMARK = "printf '%s\\n' '# size busbw' '  8 100.5 GB/s' ' 64 320.25 GB/s' '# done'"


def guarded(folder: Path, script: str, *options: str, stall: int = 60) -> subprocess.CompletedProcess[str]:
    """Run a shell script under a guard of a run's only node."""
    (folder / "r1").mkdir(exist_ok=True)
    words = [
        *(
            sys.executable,
            str(GUARD),
            "--kind=cpu",
            "--accelerators=0",
            "--efa=0",
            "--nodes=1",
            "--node-rank=0",
        ),
        *(f"--stall-seconds={stall}", "--start-seconds=60", f"--logs={folder / 'r1' / 'nccl'}", PATTERN),
        *(*options, "--", "sh", "-c", script),
    ]
    return subprocess.run(
        words, env=dict(os.environ), capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )


@pytest.mark.parametrize("stall", [60, 0], ids=["watched", "stalls not watched"])
@pytest.mark.parametrize(
    ("option", "verdict", "code"),
    [
        ("--at-least=busbw:last:320", "last value of busbw: 320.25, at least 320 expected: met", 0),
        ("--at-least=busbw:last:321", "last value of busbw: 320.25, at least 321 expected: missed", 81),
        ("--at-most=busbw:every:320", "every value of busbw: 320.25, at most 320 expected: missed", 81),
        (
            "--at-least=algbw:last:1",
            "last value of algbw: at least 1 expected, and no line printed it: missed",
            81,
        ),
    ],
)
def test_a_benchmark_passes_or_misses(
    tmp_path: Path, option: str, verdict: str, code: int, stall: int
) -> None:
    done = guarded(tmp_path, BENCHMARK, "--at-most=size:last:64", option, stall=stall)
    assert done.returncode == code, done.stderr
    assert f"launch guard: {verdict}" in done.stderr
    assert "launch guard: last value of size: 64, at most 64 expected: met" in done.stderr
    assert done.stdout.splitlines()[0] == "# size busbw", "the program's own output is passed on"
    final = tmp_path / "r1" / "final_exit_code"
    assert (final.read_text(encoding="ascii") if final.exists() else "") == ("81\n" if code else "")


def test_without_criteria_nothing_is_judged(tmp_path: Path) -> None:
    done = guarded(tmp_path, BENCHMARK)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_fails_keeps_its_exit_code(tmp_path: Path) -> None:
    done = guarded(tmp_path, f"{BENCHMARK}; exit 3", "--at-least=busbw:last:999")
    assert done.returncode == 3
    assert "expected" not in done.stderr


def test_another_node_judges_nothing_unless_the_last_rank_prints(tmp_path: Path) -> None:
    missed = ("--at-least=busbw:last:999", "--nodes=2")
    quiet = guarded(tmp_path, BENCHMARK, *missed, "--node-rank=1")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert not (tmp_path / "r1" / "progress.prom").exists()
    last = guarded(tmp_path, BENCHMARK, *missed, "--node-rank=1", "--last-rank")
    assert last.returncode == 81
    assert (tmp_path / "r1" / "progress.prom").exists()
    first = guarded(tmp_path, BENCHMARK, *missed, "--last-rank")
    assert (first.returncode, first.stderr) == (0, "")


def test_the_last_values_are_in_the_runs_folder(tmp_path: Path) -> None:
    guarded(tmp_path, BENCHMARK)
    text = (tmp_path / "r1" / "progress.prom").read_text(encoding="utf-8")
    assert 'trainforge_progress_busbw{run="r1"} 320.25\n' in text
    assert 'trainforge_progress_lines_total{run="r1"} 2\n' in text
    assert not list((tmp_path / "r1").glob(".progress*"))


def test_a_progress_bar_that_is_redrawn_is_read(tmp_path: Path) -> None:
    done = guarded(tmp_path, r"printf '\r8 100.5 GB/s\r64 320.25 GB/s\r'", "--at-least=busbw:every:100")
    assert done.returncode == 0, done.stderr


def test_a_stalled_run_reports_its_last_values(tmp_path: Path) -> None:
    done = guarded(tmp_path, f"{BENCHMARK}; sleep 3600", stall=1)
    assert done.returncode == 80
    assert "': size 64, busbw 320.25\n" in done.stderr
    assert "last line of progress, of node 0 '" in done.stderr


@pytest.mark.parametrize("option", ["--at-least=busbw", "--at-most=busbw:mean:3"])
def test_a_bound_of_another_form_is_a_wrong_command_line(tmp_path: Path, option: str) -> None:
    done = guarded(tmp_path, BENCHMARK, option)
    assert done.returncode == 2
    assert "is not METRIC:OF:NUMBER" in done.stderr
