"""`trainforge launch FOLDER` on a real Slurm: code and requirements reach the nodes, and the program trains there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster_infos import with_environment
from tests.conftest import ROOT
from tests.own_wheel import write_wheel
from tests.programs import checkout, require_module
from tests.slurm.cluster import SlurmCluster

require_module("torch", "make setup-train installs it")

DEADLINE_SECONDS = 240


@pytest.fixture(scope="module")
def cluster(artifacts: Callable[[str], Path]) -> Iterator[SlurmCluster]:
    with SlurmCluster(artifacts("slurm-own-code"), {"cpu": ["n1", "n2"]}) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my-training"
    shutil.copytree(ROOT / "tests" / "own_code" / "my-training", made)
    return made


def launch(cluster: SlurmCluster, folder: Path, *words: str) -> tuple[int, str]:
    """Launch a folder's code on both nodes, wait for the job, and return its exit code and log."""
    here = folder.parent
    info = with_environment(
        "parallelcluster",
        here / "shared",
        environment=sys.prefix.replace(str(ROOT), str(checkout())),
        launch_folder="",
    )
    (here / "shared").mkdir(exist_ok=True)
    (here / "cluster-info.json").write_text(info.to_json(), encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from cli.main import main; main()"
    where = [
        "--on",
        "parallelcluster",
        "--cluster-info",
        "cluster-info.json",
        "--pool",
        "cpu",
        "--nodes",
        "2",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, "launch", "./my-training", *where, "--wait", *words],
        cwd=here,
        env={**cluster.environment(), "PIP_NO_INDEX": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    log = re.search(r"^  tail -F (.+)$", done.stdout, re.MULTILINE)
    assert log, done.stdout + done.stderr
    path = Path(log[1])
    deadline = time.monotonic() + 10
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    return done.returncode, path.read_text(encoding="utf-8")


def test_a_program_with_requirements_trains_on_two_nodes(cluster: SlurmCluster, folder: Path) -> None:
    write_wheel(folder, "greeting", "TEXT = 'from the wheel'\n")
    (folder / "requirements.txt").write_text("./greeting-1.0-py3-none-any.whl\n", encoding="utf-8")
    program = folder / "train.py"
    text = program.read_text(encoding="utf-8")
    program.write_text(f"{text}import greeting\n\nprint(greeting.TEXT)\n", encoding="utf-8")
    code, log = launch(cluster, folder, "--", "--lr", "0.2")
    assert code == 0, log
    assert "trained on 2 ranks, loss 0.0" in log
    assert log.count("from the wheel") == 2
    assert log.count("installing requirements.txt") == 1
    shared = folder.parent / "shared"
    assert len(list((shared / "environments").iterdir())) == 2
    code, log = launch(cluster, folder)
    assert code == 0, log
    assert "installing requirements.txt" not in log
    assert len(list((shared / "code" / "my-training").iterdir())) == 1


def test_requirements_that_fail_end_the_job_with_pips_words(cluster: SlurmCluster, folder: Path) -> None:
    (folder / "requirements.txt").write_text("no-such-package\n", encoding="utf-8")
    code, log = launch(cluster, folder)
    assert code != 0, log
    [run_folder] = (folder.parent / "shared" / "runs" / "my-training").iterdir()
    assert (run_folder / "final_exit_code").read_text(encoding="ascii") == "65\n"
    assert "No matching distribution found for no-such-package" in log
    assert "trained on" not in log
