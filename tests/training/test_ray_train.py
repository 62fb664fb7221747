"""The workload ray-train on a real Ray cluster of this machine: a signal stops it, and another start resumes.

tests/slurm/test_slurm_ray.py kills a rank of it, on a cluster of two nodes.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.versions import RAY
from tests.ports import LOOPBACK, free_ports
from tests.programs import ROOT, require_module
from tests.training.framework_runs import FrameworkRun
from tests.training.runs import fsdp_losses

require_module("torch", "make setup-train installs it")

Artifacts = Callable[[str], Path]

_WORDS = ("--steps=20", "--warmup-steps=2", "--checkpoint-every=5")


@pytest.fixture(scope="module")
def interrupted(artifacts: Artifacts) -> FrameworkRun:
    """A run that a signal stops, and that is started again."""
    run = FrameworkRun("ray-train", "tiny", artifacts("ray-train"), *_WORDS, "--step-seconds=0.3")
    process = run.start()
    run.wait_for(lambda: 7 in run.printed_losses(), "step 7")
    process.send_signal(signal.SIGTERM)
    assert run.wait(process) == 75, run.log
    assert run.run() == 0, run.log
    return run


@pytest.mark.heavy
@pytest.mark.proof("ray-train", "local", "executed")
def test_a_signal_saves_and_stops(interrupted: FrameworkRun) -> None:
    stopped = re.search(r"stopped by signal 15 after step (\d+), which is saved", interrupted.log)
    assert stopped
    assert re.findall(r"resuming after step (\d+) of 20", interrupted.log) == [stopped[1]]
    assert "done after step 20" in interrupted.log
    assert not (interrupted.run_folder / "stopped.json").exists()


@pytest.mark.heavy
def test_losses_are_those_of_the_workload_fsdp(interrupted: FrameworkRun, run_folder: Path) -> None:
    """The interrupted run under Ray has the bits of an uninterrupted one under torchrun."""
    assert interrupted.losses() == fsdp_losses(run_folder, *_WORDS)
    assert list(interrupted.losses()) == list(range(1, 21))


@pytest.mark.heavy
def test_metrics_have_the_names_of_all(interrupted: FrameworkRun) -> None:
    metrics = interrupted.metrics()
    assert metrics["step"] == 20
    assert metrics["loss"] == interrupted.printed_losses()[20]
    assert metrics["tokens_per_second"] == pytest.approx(64 * metrics["samples_per_second"], rel=1e-2)


@pytest.mark.heavy
def test_nothing_of_ray_is_left(interrupted: FrameworkRun) -> None:
    mark = f"RUN_FOLDER={interrupted.run_folder}".encode()
    left = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "environ").read_bytes().split(b"\0"):
                left.append((path / "cmdline").read_bytes())
        except OSError:
            continue
    assert left == []


RAY_OF_ONE_PROCESS = """
import sys
from types import ModuleType, SimpleNamespace

class TrainingFailedError(Exception): pass

class TorchTrainer:
    def __init__(self, loop, *, train_loop_config, run_config, **_):
        self.loop, self.given, self.failures = loop, train_loop_config, run_config.failure_config.max_failures

    def fit(self):
        for start in range(1 + self.failures):
            print("start", start, flush=True)
            try:
                return SimpleNamespace(return_value=self.loop(self.given))
            except Exception as error:
                failure = error
        raise TrainingFailedError from failure

record = lambda **fields: SimpleNamespace(**fields)

def init(**fields):
    # The head answers, and its node is not registered yet.
    tries.append(fields)
    if len(tries) == 1:
        raise ConnectionError("Failed to connect to Ray cluster")

tries = []
for name, content in {
    "ray": {"init": init, "cluster_resources": dict},
    "ray.train": {"TrainingFailedError": TrainingFailedError}
    | dict.fromkeys(("FailureConfig", "RunConfig", "ScalingConfig"), record),
    "ray.train.torch": {"TorchConfig": record},
    "ray_trainer.trainer": {"Trainer": TorchTrainer},
}.items():
    sys.modules[name] = ModuleType(name)
    vars(sys.modules[name]).update(content)

from ray_trainer.driver import main
from training import errors

errors.run(main)
"""
"""The driver with a placeholder for Ray: one rank in its own process, started again after a failure as Ray Train does.

The tests on a real Ray show that it starts ranks again, and returns what rank 0 returns.
"""


def test_what_ranks_refuse_is_final_and_a_late_node_is_waited_for(tmp_path: Path) -> None:
    """Ray Train starts all ranks again after any failure; a wrong size is not tried a third time."""
    workloads = ROOT / "workloads"
    folders = [str(workloads / name) for name in ("ray_train", "fsdp", "runtime")]
    variables = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": LOOPBACK}
    variables |= {"MASTER_PORT": str(*free_ports(1)), "RAY_ADDRESS": "a", "RUN_FOLDER": str(tmp_path)}
    words = ("--model=tiny", "--sequence-length=64", "--micro-batch=2", "--global-batch=5", "--device=cpu")
    done = subprocess.run(
        [sys.executable, "-c", RAY_OF_ONE_PROCESS, *words, "--precision=fp32", "--max-failures=3"],
        env={**os.environ, **variables, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "error: --global-batch 5 does not divide by 1 ranks of --micro-batch 2" in done.stderr
    assert done.stdout.split() == ["start", "0", "start", "1"]


def test_the_versions_are_the_catalogs() -> None:
    for name in ("requirements.txt", "environment.txt"):
        lines = (ROOT / "workloads" / "ray_train" / name).read_text(encoding="utf-8").splitlines()
        assert [line.partition("==")[2] for line in lines if line.startswith("ray[")] == [str(RAY)]
