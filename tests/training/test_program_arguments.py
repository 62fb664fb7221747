"""Arguments of the program at launch, for real: they arrive, and what the program refuses ends the run at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.programs import ROOT, require_module
from tests.training.runs import DEADLINE_SECONDS, LocalRun

require_module("torch", "make setup-train installs it")


def launched(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Return what `trainforge launch cpu-ddp` of the preset tiny on this machine ended with."""
    code = "from cli.main import main; main()"
    launch = [
        "launch",
        "cpu-ddp",
        "--on",
        "local",
        "--preset",
        "tiny",
        "--shared",
        str(folder),
        "--run-id",
        "t1",
        "-y",
    ]
    return subprocess.run(
        [sys.executable, "-c", code, *launch, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def test_arguments_at_launch_arrive_at_the_program(tmp_path: Path) -> None:
    done = launched(tmp_path, "--", "--steps=3", "--learning-rate", "1e-4", "--checkpoint-every=3")
    assert done.returncode == 0, done.stderr
    assert "  args   --steps=3 --learning-rate 1e-4 --checkpoint-every=3\n" in done.stdout
    assert "done after step 3" in done.stdout
    folder = tmp_path / "runs" / "cpu-ddp" / "t1"
    records = [
        json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [record["step"] for record in records] == [1, 2, 3]
    assert [path.name[:14] for path in (folder / "checkpoints").iterdir()] == ["step-000000003"]


def test_an_argument_that_the_program_lacks_starts_nothing(tmp_path: Path) -> None:
    done = launched(tmp_path, "--", "--step=3")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("error:") == 1
    assert "unrecognized arguments: --step=3 (did you mean '--steps'?)" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_torchrun_reports_a_program_without_our_helpers_that_refuses_its_arguments(
    tmp_path: Path,
) -> None:
    program = tmp_path / "plain.py"
    program.write_text(
        "import argparse\nargparse.ArgumentParser(prog='plain.py').parse_args()\n", encoding="utf-8"
    )
    guard = [
        *(sys.executable, str(ROOT / "workloads" / "runtime" / "launch_guard.py")),
        *("--kind=cpu", "--accelerators=0", "--efa=0", "--nodes=1", "--node-rank=0"),
        *("--progress=step=(?P<step>[0-9]+)", "--start-seconds=60", "--stall-seconds=60"),
        *(f"--logs={tmp_path / 'run' / 'nccl'}", "--"),
    ]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*guard, *launcher, str(program), "--lr=1"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("launch guard: the program refused its arguments") == 1
    assert (tmp_path / "run" / "final_exit_code").read_text(encoding="ascii") == "2\n"


def test_a_program_that_refuses_its_arguments_on_the_nodes_is_not_started_again(tmp_path: Path) -> None:
    """As a program whose options the command does not know: all ranks end with 2 under torchrun, which ends with 1."""
    run = LocalRun("cpu-ddp", "tiny", tmp_path, "--step=3")
    assert run.run() == 2, run.log
    # One rank at least: torchrun ends the others when it sees the first one's code.
    assert run.log.count("train.py: error: unrecognized arguments: --step=3\n") in (1, 2)
    assert run.log.count("launch guard: the program refused its arguments") == 1
    assert (run.run_folder / "final_exit_code").read_text(encoding="ascii") == "2\n"
