"""`trainforge launch` on a real Slurm: the job that it submits runs, its log is where it says, and its run resumes."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster_infos import with_environment
from tests.conftest import ROOT
from tests.programs import require_module
from tests.slurm.cluster import SlurmCluster

require_module("torch", "make setup-train installs it")

DEADLINE_SECONDS = 240


@pytest.fixture(scope="module")
def cluster(artifacts: Callable[[str], Path]) -> Iterator[SlurmCluster]:
    with SlurmCluster(artifacts("slurm-launch"), {"cpu": ["n1", "n2"]}) as running:
        yield running


@dataclass
class LoginNode:
    """The command in a folder on a node of the cluster."""

    cluster: SlurmCluster
    folder: Path

    def __post_init__(self) -> None:
        """Write the cluster info."""
        info = with_environment("parallelcluster", self.folder / "shared")
        (self.folder / "cluster-info.json").write_text(info.to_json(), encoding="utf-8")

    def launch(self, *options: str) -> subprocess.CompletedProcess[str]:
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from cli.main import main; main()"
        where = ("--on", "parallelcluster", "--cluster-info", "cluster-info.json", "--pool", "cpu")
        return subprocess.run(
            [sys.executable, "-c", code, "launch", "cpu-ddp", *where, "--preset", "tiny", *options],
            cwd=self.folder,
            env=self.cluster.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )

    def submit(self, *options: str) -> tuple[str, Path]:
        """Launch a job and return its number and log, as the command tells them."""
        done = self.launch(*options)
        assert done.returncode == 0, done.stderr
        job = re.search(r"^submitted job (\d+)$", done.stdout, re.MULTILINE)
        log = re.search(r"^  tail -F (.+)$", done.stdout, re.MULTILINE)
        assert job, done.stdout
        assert log, done.stdout
        assert f"  squeue --jobs {job[1]}\n" in done.stdout
        return job[1], Path(log[1])

    def wait_for(self, log: Path, job: str) -> str:
        """Wait until a job is gone and return its log."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.cluster.run("squeue", "--noheader", "--jobs", job, check=False).strip():
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8") if log.exists() else "no log"
            time.sleep(0.5)
        return log.read_text(encoding="utf-8")


@pytest.fixture
def login(cluster: SlurmCluster, tmp_path: Path) -> LoginNode:
    return LoginNode(cluster, tmp_path)


def test_a_run_resumes_in_the_next_job(login: LoginNode) -> None:
    """Each job takes one of the two nodes, so only their name keeps the second one back until the first has ended."""
    first, log = login.submit("--nodes", "1", "--run-id", "chain")
    second, then = login.submit("--nodes", "1", "--run-id", "chain")
    assert log.name == f"cpu-ddp-tiny-chain_{first}.out"
    assert "done after step 60" in login.wait_for(log, first)
    assert "resuming after step 60 of 60" in login.wait_for(then, second)
    assert [path.name for path in (login.folder / "shared" / "runs" / "cpu-ddp").iterdir()] == ["chain"]


def test_waiting_ends_with_the_jobs_exit_code(login: LoginNode) -> None:
    """The job fails at once: what ought to be the run's folder is a file."""
    folder = login.folder / "shared" / "runs" / "cpu-ddp"
    folder.mkdir(parents=True)
    (folder / "blocked").write_text("", encoding="utf-8")
    done = login.launch("--nodes", "1", "--run-id", "blocked", "--wait")
    assert done.returncode == 1, done.stdout
    assert done.stdout.endswith("the job ended with exit code 1\n")
