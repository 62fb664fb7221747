"""The exit of a rank: after an error with its code alone, whatever its process group would do at the end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.ports import free_ports
from tests.programs import ROOT, require_module

require_module("torch", "make setup-train installs it")

# What a destructor of the process group does now and then, this one does always. A line that is only in the buffer
# must come out all the same.
PROGRAM = """
import atexit, os, sys
from training import errors
from training.process_group import joined

def main():
    atexit.register(os.abort)
    with joined("cpu"):
        sys.stdout.write("in the buffer")
        {ends}
    atexit.unregister(os.abort)
    {afterwards}

errors.run(main)
"""


def leave(ends: str, afterwards: str = "pass") -> subprocess.CompletedProcess[str]:
    """Run a rank that ends so, alone in its group."""
    places = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    path = {"PYTHONPATH": str(ROOT / "workloads" / "runtime")}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(ends=ends, afterwards=afterwards)],
        env={**os.environ, **places, "MASTER_PORT": str(free_ports(1)[0]), **path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("ends", "code", "told"),
    [
        ("raise errors.TrainingError('no data', errors.NO_INPUT)", 66, "error: no data\n"),
        ("raise errors.TrainingError('another seed')", 2, "error: another seed\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
    ],
)
def test_an_error_in_the_group_leaves_with_its_code_and_runs_no_destructor(
    ends: str, code: int, told: str
) -> None:
    done = leave(ends)
    assert (done.returncode, done.stdout) == (code, "in the buffer")
    assert done.stderr.endswith(told)
    assert ("Traceback" in done.stderr) == (code == 1)


def test_a_rank_that_has_left_the_group_ends_as_any_program() -> None:
    done = leave("pass", "raise errors.StoppedError('saved')")
    assert (done.returncode, done.stdout, done.stderr) == (75, "in the buffer", "saved\n")
    done = leave("pass", "atexit.register(print, 'the very last')")
    assert (done.returncode, done.stdout) == (0, "in the bufferthe very last\n")
