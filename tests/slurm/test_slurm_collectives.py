"""nccl-tests on a real Slurm: the very script that the renderer writes, whose ranks srun starts by PMIx."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster_infos import with_environment
from tests.collective_runs import check, collective_run
from tests.programs import not_available, require_module
from tests.slurm.batch_jobs import BatchJob
from tests.slurm.cluster import SlurmCluster
from workloads.nccl_tests.results import read
from workloads.render.slurm import slurm as render

require_module("torch", "make setup-train installs it")

MISSED = 81
"""The launch guard's exit code for a criterion that a run misses."""


@pytest.fixture(scope="module")
def cluster(artifacts: Callable[[str], Path]) -> Iterator[SlurmCluster]:
    """A cluster of two nodes whose Slurm starts ranks by PMIx."""
    with SlurmCluster(artifacts("slurm-collectives"), {"cpu": ["n1", "n2"]}) as running:
        if "pmix" not in running.run("bash", "-c", "srun --mpi=list 2>&1"):
            not_available("Slurm has no PMIx; Debian has its library: apt-get install libpmix2t64")
        yield running


@pytest.fixture
def submit(cluster: SlurmCluster, artifacts: Callable[[str], Path]) -> Callable[..., tuple[int, str]]:
    """Return a function that submits the script of a collective and waits; it returns the exit code and the log."""

    def submitted(name: str, collective: str, change: Callable[[str], str] = str) -> tuple[int, str]:
        folder = artifacts(f"collective-{name}")
        info = with_environment("parallelcluster", folder / "shared", partitions={"": "cpu"})
        (folder / "shared").mkdir()
        script = folder / "job.sbatch"
        script.write_text(change(render(collective_run(collective), info)), encoding="utf-8")
        job = BatchJob.submit(cluster, script)
        _, code = job.end()
        return code, job.log

    return submitted


@pytest.mark.proof("nccl-tests", "slurm", "executed")
@pytest.mark.parametrize("collective", ["all_reduce", "all_gather", "reduce_scatter", "alltoall"])
def test_srun_starts_the_ranks_of_both_nodes(collective: str, submit: Callable[..., tuple[int, str]]) -> None:
    code, log = submit(collective, collective)
    assert code == 0, log
    check(log, collective, hosts=1)
    # srun's label is before each line.
    assert re.search(r"^ *0: +8 ", log, re.MULTILINE) or re.search(r"^ *0: +0 ", log, re.MULTILINE)


def test_a_run_that_checks_nothing_misses_the_criterion(submit: Callable[..., tuple[int, str]]) -> None:
    code, log = submit("unchecked", "all_reduce", lambda text: text.replace("  -c 1\n", "  -c 0\n"))
    # srun ends the other ranks when one has failed, and its exit code is the highest of all.
    assert code != 0, log
    assert f"Exited with exit code {MISSED}" in log
    [run] = read(log.splitlines())
    assert run.problems() == ["no result was checked (option -c 0)"]


def test_an_average_below_the_variable_fails_the_job(submit: Callable[..., tuple[int, str]]) -> None:
    floor = "export NCCL_TESTS_MIN_BW=1e9\nset -euo pipefail\n"
    code, log = submit("slow", "all_reduce", lambda text: text.replace("set -euo pipefail\n", floor, 1))
    assert code != 0, log
    assert "Exited with exit code 7" in log
    [run] = read(log.splitlines())
    assert run.too_slow
