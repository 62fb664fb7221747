"""The workload jax for real: two processes over gloo, killed, resumed and stopped, and two nodes of a real Slurm."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.slurm.batch_jobs import BatchJob, write_script
from tests.slurm.cluster import SlurmCluster
from tests.training.framework_runs import FrameworkRun, framework
from tests.training.runs import losses_of
from workloads.registry import workload
from workloads.spec import Run

COMPILED = "JAX_COMPILATION_CACHE_DIR"
Artifacts = Callable[[str], Path]


class JaxRun(FrameworkRun):
    """A run of the preset `tiny`; what one compiles the others load."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__("jax", "tiny", folder, *arguments)
        self.compiled = str(folder.parent / "compiled")

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start the script."""
        return super().start(**{COMPILED: self.compiled}, **environment)


@pytest.fixture(scope="module")
def whole(artifacts: Artifacts) -> JaxRun:
    """A run that nobody interrupted."""
    run = JaxRun(artifacts("jax-whole"))
    assert run.run() == 0, run.log
    return run


@pytest.mark.heavy
def test_the_loss_falls_and_one_process_prints(whole: JaxRun) -> None:
    losses = whole.printed_losses()
    assert list(losses) == list(range(1, 21))
    assert losses[20] < losses[1] - 0.1
    assert len(re.findall(r"^step=7 ", whole.log, re.MULTILINE)) == 1
    assert "processes=2 data=2 model-parallel=1 device=cpu" in whole.log
    kept = {path.name for path in (whole.run_folder / "checkpoints").iterdir()}
    assert kept == {"10", "15", "20"}


@pytest.mark.heavy
def test_its_metrics_have_the_names_of_all(whole: JaxRun) -> None:
    metrics = whole.metrics()
    assert metrics["step"] == 20
    assert metrics["loss"] == whole.printed_losses()[20]
    assert metrics["tokens_per_second"] == pytest.approx(64 * metrics["samples_per_second"], rel=1e-3)
    assert metrics["seconds_per_step"] == pytest.approx(8 / metrics["samples_per_second"])
    # 6 operations for each of the matrices' 114,688 weights, and attention's, on half of the tokens.
    operations = 6 * 114_688 + 3 * 4 * 64 * 64 * 2
    expected = operations * metrics["tokens_per_second"] / 2 / 1e12
    assert metrics["tflops"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.heavy
@pytest.mark.proof("jax", "slurm", "executed")
def test_slurm_starts_a_process_on_each_node_and_they_have_the_same_losses(
    whole: JaxRun, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = artifacts("jax-slurm")
    described = workload("jax")
    preset = described.presets["tiny"]
    run = Run.on_type(described, preset, preset.instance_type, 2, "cpu")
    script = write_script(folder, run, framework("jax"))
    # The job has the variables of the shell that submits it.
    monkeypatch.setenv(COMPILED, whole.compiled)
    with SlurmCluster(folder / "cluster", {"cpu": ["n1", "n2"]}) as cluster:
        job = BatchJob.submit(cluster, script)
        assert job.end() == ("COMPLETED", 0), job.log
    assert "processes=2 data=2 model-parallel=1 device=cpu" in job.log
    assert losses_of(folder / "shared" / "runs" / "jax" / job.id) == whole.losses()


@pytest.fixture(scope="module")
def killed(artifacts: Artifacts) -> tuple[JaxRun, JaxRun]:
    """A run of which a process was killed after the first checkpoint, and a copy of it for another mesh."""
    run = JaxRun(artifacts("jax-killed"))
    process = run.start()
    # It is written while the run continues, and is whole before that of step 10 begins.
    run.wait_for(lambda: "checkpoint step=5" in run.log, "the first checkpoint")
    os.kill(run.ranks()[1], signal.SIGKILL)
    assert run.wait(process) != 0
    assert 20 not in run.printed_losses()
    copy = JaxRun(artifacts("jax-other-mesh"), "--model-parallel=2")
    shutil.copytree(run.run_folder, copy.run_folder)
    return run, copy


@pytest.mark.heavy
@pytest.mark.proof("jax", "local", "executed")
@pytest.mark.resuming("jax")
def test_a_killed_run_resumes_with_the_same_losses(whole: JaxRun, killed: tuple[JaxRun, JaxRun]) -> None:
    run, _ = killed
    assert run.run() == 0, run.log
    assert re.search(r"^resuming after step (5|10) of 20: ", run.log, re.MULTILINE)
    assert len(run.losses()) == 20
    assert run.losses() == whole.losses()


@pytest.mark.heavy
def test_a_run_resumes_on_another_mesh_and_is_saved_at_a_signal(
    whole: JaxRun, killed: tuple[JaxRun, JaxRun]
) -> None:
    """The signal, Slurm's warning before the time limit, comes to one process before the first step.

    JAX looks for a signal once a second, so process 0 is halted for that time: the run might be done before.
    """
    _, run = killed
    process = run.start()
    run.wait_for(lambda: "of 20: " in run.log, "the opening line")
    first, second = run.ranks()
    os.kill(first, signal.SIGSTOP)
    os.kill(second, signal.SIGUSR1)
    time.sleep(2)
    os.kill(first, signal.SIGCONT)
    assert run.wait(process) == 75, run.log
    assert re.search(r"^resuming after step (5|10) of 20: .* data=1 model-parallel=2 ", run.log, re.MULTILINE)
    losses = run.printed_losses()
    assert losses
    assert losses == pytest.approx({step: whole.printed_losses()[step] for step in losses}, abs=1e-4)
    stopped = max(losses)
    assert stopped < 20
    assert f"stopped by a signal after step {stopped}, which is saved" in run.log
    assert (run.run_folder / "checkpoints" / str(stopped)).is_dir()
    assert (run.run_folder / "stopped.json").exists()


@pytest.mark.heavy
def test_a_start_without_a_launcher_is_final(artifacts: Artifacts) -> None:
    """The launch guard takes the exit code 2 of a rank for final."""
    done = subprocess.run(
        [str(framework("jax") / "bin" / "python"), "train.py"],
        cwd=ROOT / "workloads" / "jax",
        env={
            **os.environ,
            "RUN_FOLDER": str(artifacts("jax-wrong")),
            "PYTHONPATH": str(ROOT / "workloads/runtime"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID are not set" in done.stderr
