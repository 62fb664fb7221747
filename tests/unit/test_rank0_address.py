"""The address of rank 0's node, as the program of the runtime prints it on a node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.batch_nodes import own_address, variables
from tests.programs import ROOT

PROGRAM = ROOT / "workloads" / "runtime" / "rank0_address.py"


def printed(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def address(*words: str, **environment: str) -> str:
    done = printed(*words, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.removesuffix("\n")


@pytest.fixture
def scontrol(tmp_path: Path) -> Path:
    """The folder of a scontrol that has the address of every node."""
    program = tmp_path / "scontrol"
    program.write_text('#!/bin/bash\n[ "$1" = getaddrs ] && echo "$2: 10.0.0.8:6818"\n', encoding="utf-8")
    program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n[1-3,5]", "n1"),
        ("n[12,40]", "n12"),
        ("gpu-st-p5-[007-064]", "gpu-st-p5-007"),
        ("n[08-09]x,m1", "n08x"),
        ("ip-10-1-2-3,ip-10-1-9-[4-5]", "ip-10-1-2-3"),
    ],
)
def test_slurms_rank_0_is_on_the_steps_first_node(scontrol: Path, nodes: str, first: str) -> None:
    """A container has no scontrol: it has the addresses of the job's first nodes, and the names of others."""
    step = {"SLURM_STEP_NODELIST": nodes, "PATH": "/nowhere"}
    assert address("slurm", ADDRESSES="m9: 10.0.0.9:6818", **step) == first
    assert address("slurm", **step) == first
    known = f"{first}0: 10.0.0.1:6818\n{first}: 10.0.0.7:6818\nm9: 10.0.0.9:6818"
    assert address("slurm", ADDRESSES=known, **step) == "10.0.0.7"
    step["PATH"] = f"{scontrol}:/bin:/usr/bin"
    assert address("slurm", ADDRESSES=known, **step) == "10.0.0.8"


def test_a_scontrol_that_fails_is_reported(scontrol: Path) -> None:
    (scontrol / "scontrol").write_text("#!/bin/bash\necho 'no controller' >&2\nexit 3\n", encoding="utf-8")
    done = printed("slurm", SLURM_STEP_NODELIST="n1", PATH=f"{scontrol}:/bin:/usr/bin")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "no controller\n")


def test_batch_gives_the_address_to_other_nodes_and_the_main_node_finds_its_own() -> None:
    assert address("batch", **variables(1, 2, "10.0.0.7")) == "10.0.0.7"
    assert address("batch", **variables(0, 2, "10.0.0.7")) == own_address()


def test_a_batch_node_without_an_address_reports_it() -> None:
    done = printed("batch", **variables(1, 2, ""))
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == "node 1: AWS Batch did not say where the main node is\n"


def test_another_scheduler_is_a_wrong_command_line() -> None:
    done = printed("pbs")
    assert (done.returncode, done.stderr) == (2, "usage: rank0_address.py batch|slurm\n")
