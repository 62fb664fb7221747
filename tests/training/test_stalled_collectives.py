"""The diagnosis of real stalls: four ranks over gloo, whose flight recorders `trainforge diagnose` reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.ports import free_ports
from tests.programs import require_module

require_module("torch", "make setup-train installs it")

PROGRAM = Path(__file__).with_name("stalled_collectives.py")
WHERE = f" at {PROGRAM}:"


def stalled(case: str, folder: Path) -> str:
    """Stall four ranks, and return the diagnosis."""
    [port] = free_ports(1)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=4", f"--master-port={port}"]
    done = subprocess.run(
        [*torchrun, str(PROGRAM), case, str(folder)],
        env={**os.environ, "TORCH_FR_BUFFER_SIZE": "200", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = CliRunner().invoke(app, ["diagnose", str(folder)])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_rank_that_did_not_arrive(tmp_path: Path) -> None:
    lines = stalled("missing", tmp_path).splitlines()
    assert lines[:2] == [f"flight recorders of 4 ranks in '{tmp_path}'", "all others wait for rank 3"]
    waits = "gloo:all_reduce number 4 of group 'default_pg' (4 ranks) is not done: ranks 0-2 wait in it"
    assert lines[2].startswith(waits + WHERE)
    assert lines[3:] == [
        "rank 3 did not arrive: its last there is number 3, gloo:all_reduce; it waits in no collective"
    ]


@pytest.mark.heavy
def test_a_rank_that_waits_in_another_group_is_not_the_cause(tmp_path: Path) -> None:
    lines = stalled("groups", tmp_path).splitlines()
    assert lines[1] == "all others wait for rank 1"
    assert lines[2].startswith(
        "gloo:all_gather number 4 of group 'pair0' (2 ranks recorded) is not done: rank 0 waits"
    )
    assert any(
        line.startswith("rank 0 did not arrive")
        and "it waits in gloo:all_gather number 4 of group 'pair0'" in line
        for line in lines
    )


@pytest.mark.heavy
def test_a_rank_that_called_with_another_size(tmp_path: Path) -> None:
    text = stalled("mismatch", tmp_path)
    assert "all others wait for rank 2" in text
    assert "rank 2 called gloo:all_reduce with [[4]] of ['Float'] as number 4, and others" in text
    document = json.loads(CliRunner().invoke(app, ["diagnose", str(tmp_path), "--json"]).output)
    assert [one["different"] for one in document["collectives"]] == [[2]]
