"""gpu-health for real: the local script with two processes, whose programs answer as a made-up node's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import ROOT, require_module
from tests.training.runs import LocalRun
from tests.unit.health_node import GPU, HealthNode

require_module("torch", "make setup-train installs it")

# The file systems are those of this machine.
MACHINE = ("--skip", "disks,kernel-log,efa,fabric-manager")


@pytest.fixture
def node(tmp_path: Path) -> HealthNode:
    """A node's programs; its devices are this machine's, which has none of EFA."""
    return HealthNode(tmp_path / "node")


def examined(node: HealthNode, folder: Path, *words: str) -> tuple[int, LocalRun]:
    run = LocalRun("gpu-health", "light", folder, *words)
    node._write_programs()
    path = f"{node.bin}{os.pathsep}{os.environ['PATH']}"
    return run.run(PATH=path, TRAINFORGE_INSTANCE_TYPE=GPU), run


@pytest.mark.proof("gpu-health", "local", "executed")
def test_the_verdict_is_over_all_nodes(node: HealthNode, artifacts: Callable[[str], Path]) -> None:
    code, run = examined(node, artifacts("gpu-health"), *MACHINE)
    assert code == 0, run.log
    assert "verdict over 2 nodes: ok (none); 0 not usable" in run.log
    summary = json.loads((run.run_folder / "health" / "summary.json").read_text())
    assert [line["rank"] for line in summary["nodes"]] == [0, 1]
    assert {line["instance_type"] for line in summary["nodes"]} == {GPU}


def test_a_broken_node_fails_the_run_finally(node: HealthNode, artifacts: Callable[[str], Path]) -> None:
    node.gpus.pop()
    code, run = examined(node, artifacts("gpu-health-broken"), *MACHINE)
    assert code == 69, run.log
    assert "health replace: gpu-count node: 7 (0, 1, 2, 3, 4, 5, 6)" in run.log
    assert "verdict over 2 nodes: replace" in run.log
    assert (run.run_folder / "final_exit_code").read_text() == "69\n"


def test_an_unknown_type_is_no_pass(node: HealthNode, artifacts: Callable[[str], Path]) -> None:
    folder = artifacts("gpu-health-unknown")
    code, run = examined(node, folder, *MACHINE, "--instance-type", "x1.nothing")
    assert code == 69, run.log
    assert "health error: instance-type node: 'x1.nothing' by --instance-type" in run.log


def test_a_node_without_a_report_counts_as_not_judged(node: HealthNode, tmp_path: Path) -> None:
    node._write_programs()
    program = ROOT / "workloads" / "gpu_health" / "examine.py"
    folder = tmp_path / "run" / "health"
    folder.mkdir(parents=True)
    # A report of an earlier start counts for nothing.
    (folder / "node-1.json").write_text('{"time": 1.0, "severity": "ok", "node": "old"}')
    done = subprocess.run(
        [sys.executable, str(program), "--wait-minutes=0", *MACHINE],
        env=node.environment
        | {
            "RUN_FOLDER": str(tmp_path / "run"),
            "RANK": "0",
            "WORLD_SIZE": "2",
            "TRAINFORGE_INSTANCE_TYPE": GPU,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 69
    assert re.search(r"^1 +\? +\? +error +no report in time$", done.stdout, re.MULTILINE)
    assert done.stderr == "error: the nodes are not all healthy: error\n"
