"""Faults done to the fsdp workload for real: after each, the losses are the uninterrupted run's, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.programs import require_module
from tests.slurm.cluster import SlurmCluster
from tests.training import faults, slurm_faults
from tests.training.faults import INTERVAL, FsdpRun, Losses, Outcome
from tests.training.small_file_system import can_mount

require_module("torch", "make setup-train installs it")
require_module("numpy", "make setup-train installs it")

# Steps done again: since the last finished checkpoint, and those done while the next one was being written. How many
# those are is the disk's matter, but the save after it waits for it.
AT_MOST = 2 * INTERVAL
QUICK = (faults.killed_while_writing,)
DAMAGE = (faults.truncated, faults.bit_flipped)


@pytest.fixture(scope="module")
def whole(whole_fsdp: FsdpRun) -> Losses:
    return whole_fsdp.losses()


@pytest.fixture(scope="module")
def cluster(artifacts: Callable[[str], Path]) -> Iterator[SlurmCluster]:
    with slurm_faults.cluster_in(artifacts("fsdp-slurm")) as running:
        yield running


def slow(fault: Callable[..., Outcome]) -> object:
    """Mark all but the hardest local fault as heavy: each takes two starts."""
    marks = [] if fault in QUICK else [pytest.mark.heavy]
    return pytest.param(fault, marks=marks, id=fault.__name__)


@pytest.mark.parametrize("fault", [slow(fault) for fault in faults.LOCAL])
@pytest.mark.resuming("fsdp")
def test_a_run_resumes_with_equal_results(
    whole: Losses, artifacts: Callable[[str], Path], fault: Callable[[Path, Losses], Outcome]
) -> None:
    if fault is faults.folder_full and not can_mount():
        pytest.skip("no small file system can be mounted here: that takes root, outside of most containers")
    found = fault(artifacts(f"fsdp-{fault.__name__}"), whole)
    assert found.equal, found.row()
    assert found.repeated <= AT_MOST + (INTERVAL if fault in DAMAGE else 0), found.row()
    if fault is faults.terminated:
        assert found.repeated == 0


@pytest.mark.heavy
@pytest.mark.proof("fsdp", "slurm", "executed")
@pytest.mark.parametrize("fault", slurm_faults.FAULTS, ids=lambda fault: fault.__name__)
def test_slurm_requeues_a_job_and_it_resumes(
    cluster: SlurmCluster,
    whole: Losses,
    artifacts: Callable[[str], Path],
    fault: Callable[[SlurmCluster, Path, Losses], Outcome],
) -> None:
    found = fault(cluster, artifacts(f"fsdp-slurm-{fault.__name__}"), whole)
    assert found.equal, found.row()
    assert found.repeated <= AT_MOST, found.row()


def test_a_curve_that_differs_is_called_so() -> None:
    """The table must be able to say it: another loss, a step that is missing, a loss that changed when repeated."""
    whole = {1: (2.0).hex(), 2: (1.0).hex()}
    line = "step={} loss={} samples_per_second=1.0\n".format
    good = line(1, 2.0) + line(2, 1.0)
    assert faults.outcome("local", "x", "y", good, whole, 1).equal
    repeated = faults.outcome("local", "x", "y", good + line(2, 1.0), whole, 1)
    assert (repeated.equal, repeated.repeated) == (True, 1)
    for log in (line(1, 2.0), line(1, 2.0) + line(2, 1.5), good + line(2, 1.25), good + line(3, 0.5)):
        found = faults.outcome("local", "x", "y", log, whole, 1)
        assert not found.equal
        assert "differs" in found.row()


@pytest.mark.heavy
def test_all_checkpoints_damaged_is_an_error_each_time(tmp_path: Path) -> None:
    """Beginning from step 0 without a message would hide the loss of a run."""
    run = FsdpRun(tmp_path, "--steps=20")
    assert run.run() == 0, run.log
    for folder in run.checkpoints():
        (folder / "__0_0.distcp").unlink()
    for _ in range(2):
        assert run.run() != 0
        assert run.log.count("all 2 checkpoints in") >= 1
    assert run.log.count("starting: ") == 1
