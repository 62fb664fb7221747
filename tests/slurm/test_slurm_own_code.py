"""`trainforge launch FOLDER` on a real Slurm: code and requirements reach the nodes, and the program trains there.

Stages come before it, each once, and one that fails stops what waits for it.
"""

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
from tests.programs import require_module
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


def launched(cluster: SlurmCluster, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Launch a folder's code on both nodes and wait for its jobs."""
    here = folder.parent
    info = with_environment("parallelcluster", here / "shared", launch_folder="")
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
    return subprocess.run(
        [sys.executable, "-c", code, "launch", f"./{folder.name}", *where, "--wait", *words],
        cwd=here,
        env={**cluster.environment(), "PIP_NO_INDEX": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )


def launch(cluster: SlurmCluster, folder: Path, *words: str) -> tuple[int, str]:
    """Launch a folder's code and return its job's exit code and log."""
    done = launched(cluster, folder, *words)
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


def test_requirements_that_fail_end_the_job_with_pips_message(cluster: SlurmCluster, folder: Path) -> None:
    (folder / "requirements.txt").write_text("no-such-package\n", encoding="utf-8")
    code, log = launch(cluster, folder)
    assert code != 0, log
    [run_folder] = (folder.parent / "shared" / "runs" / "my-training").iterdir()
    assert (run_folder / "final_exit_code").read_text(encoding="ascii") == "65\n"
    assert "No matching distribution found for no-such-package" in log
    assert "trained on" not in log


def test_stages_run_once_and_in_order_and_one_that_fails_stops_the_rest(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    folder = tmp_path / "staged-training"
    shutil.copytree(ROOT / "tests" / "own_code" / "staged-training", folder)
    order = tmp_path / "order"
    words = ("--env", f"ORDER={order}")
    done = launched(cluster, folder, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = order.read_text(encoding="ascii").split()
    assert (ran[0], sorted(ran[1:3]), sorted(ran[3:])) == (
        "download.0",
        ["convert.0", "convert.1"],
        ["train.0", "train.1"],
    )
    stages = tmp_path / "shared" / "stages" / "staged-training"
    assert {path.parent.name for path in stages.glob("*/*.done")} == {"download", "convert"}
    # A second launch finds them done.
    done = launched(cluster, folder, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(order.read_text(encoding="ascii").split()[5:]) == ["train.0", "train.1"]
    # A stage that fails: Slurm cancels what waits for it, and nothing waits for ever.
    (tmp_path / "download.fails").touch()
    done = launched(cluster, folder, "--again", *words)
    assert done.returncode == 65, done.stdout + done.stderr
    assert "the job of 'download' ended with exit code 65" in done.stdout
    deadline = time.monotonic() + 30
    while cluster.run("squeue", "--noheader").strip() and time.monotonic() < deadline:
        time.sleep(0.2)
    jobs = re.findall(r"^submitted job (\d+)$", done.stdout, re.MULTILINE)
    states = [re.search(r"JobState=(\w+)", cluster.run("scontrol", "show", "job", job)) for job in jobs]
    assert [state and state[1] for state in states] == ["FAILED", "CANCELLED", "CANCELLED"]
    assert order.read_text(encoding="ascii").split()[7:] == ["download.0"]
    assert not list((stages / "download").glob("*.done"))
