"""The workload ray-train on a real Ray cluster of this machine: it resumes after a lost rank, and after a signal."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.versions import RAY
from tests.programs import ROOT
from tests.training.framework_runs import FrameworkRun
from tests.training.runs import LocalRun

Artifacts = Callable[[str], Path]

_WORDS = ("--steps=20", "--warmup-steps=2", "--checkpoint-every=5")


class RayRun(FrameworkRun):
    """A run of the preset `tiny`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__("ray-train", "tiny", folder, *arguments)

    def pids(self) -> list[int]:
        """Return the processes of rank 0, of all starts of the ranks, as Ray names them before its lines."""
        found = re.findall(r"\(RayTrainWorker pid=(\d+)\)\S* step=", self.log)
        return list(map(int, dict.fromkeys(found)))


@pytest.fixture(scope="module")
def interrupted(artifacts: Artifacts) -> RayRun:
    """A run whose rank 0 is killed, that is stopped by a signal later, and started again."""
    run = RayRun(artifacts("ray-train"), *_WORDS, "--step-seconds=0.3")
    process = run.start()
    run.wait_for(lambda: 7 in run.printed_losses(), "step 7")
    os.kill(run.pids()[0], signal.SIGKILL)
    run.wait_for(lambda: len(run.pids()) > 1, "a step of the ranks that Ray Train started again")
    process.send_signal(signal.SIGTERM)
    assert run.wait(process) == 75, run.log
    assert run.run() == 0, run.log
    return run


@pytest.mark.heavy
@pytest.mark.proof("ray-train", "local", "executed")
def test_ray_train_resumes_after_a_rank_is_killed(interrupted: RayRun) -> None:
    resumed = re.findall(r"resuming after step (\d+) of 20", interrupted.log)
    # The newest checkpoint may not have been whole when the rank was killed.
    assert resumed[0] in ("5", "10")
    assert len(resumed) == 2
    assert "done after step 20" in interrupted.log


@pytest.mark.heavy
def test_a_signal_saves_and_stops(interrupted: RayRun) -> None:
    stopped = re.search(r"stopped by signal 15 after step (\d+), which is saved", interrupted.log)
    assert stopped
    assert f"resuming after step {stopped[1]} of 20" in interrupted.log
    assert not (interrupted.run_folder / "stopped.json").exists()


@pytest.mark.heavy
def test_losses_are_those_of_the_workload_fsdp(interrupted: RayRun, artifacts: Artifacts) -> None:
    """The interrupted run under Ray has the bits of an uninterrupted one under torchrun."""
    whole = LocalRun("fsdp", "tiny", artifacts("ray-train-fsdp"), *_WORDS)
    assert whole.run() == 0, whole.log
    assert interrupted.losses() == whole.losses()
    assert list(interrupted.losses()) == list(range(1, 21))


@pytest.mark.heavy
def test_metrics_have_the_names_of_all(interrupted: RayRun) -> None:
    metrics = interrupted.metrics()
    assert metrics["step"] == 20
    assert metrics["loss"] == interrupted.printed_losses()[20]
    assert metrics["tokens_per_second"] == pytest.approx(64 * metrics["samples_per_second"], rel=1e-2)


@pytest.mark.heavy
def test_nothing_of_ray_is_left(interrupted: RayRun) -> None:
    mark = f"RUN_FOLDER={interrupted.run_folder}".encode()
    left = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "environ").read_bytes().split(b"\0"):
                left.append((path / "cmdline").read_bytes())
        except OSError:
            continue
    assert left == []


@pytest.mark.heavy
def test_what_ranks_refuse_is_final(artifacts: Artifacts) -> None:
    """Ray Train starts all ranks again after any failure; a wrong size is not tried a third time."""
    run = RayRun(artifacts("ray-train-refused"), "--global-batch=6")
    assert run.run() == 2, run.log
    assert "error: --global-batch 6 does not divide by 2 ranks of --micro-batch 2" in run.log
    assert (run.run_folder / "final_exit_code").read_text(encoding="ascii") == "2\n"


def test_the_versions_are_the_catalogs() -> None:
    for name in ("requirements.txt", "environment.txt"):
        lines = (ROOT / "workloads" / "ray_train" / name).read_text(encoding="utf-8").splitlines()
        assert [line.partition("==")[2] for line in lines if line.startswith("ray[")] == [str(RAY)]
