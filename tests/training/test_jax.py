"""The workload jax for real: two processes over gloo by the local script, killed, stopped and resumed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.versions import FLAX, JAX, OPTAX, ORBAX
from tests.programs import ROOT
from tests.training.framework_runs import FrameworkRun, framework
from workloads.registry import workload

Artifacts = Callable[[str], Path]


class JaxRun(FrameworkRun):
    """A run of the preset `tiny`; what one compiles the others load."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__("jax", "tiny", folder, *arguments)
        self._compiled = str(folder.parent / "compiled")

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start the script."""
        return super().start(JAX_COMPILATION_CACHE_DIR=self._compiled, **environment)


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
def test_a_killed_and_a_stopped_run_resume_with_the_same_losses(whole: JaxRun, artifacts: Artifacts) -> None:
    run = JaxRun(artifacts("jax-killed"))
    assert run.kill_at(run.start(), 8) != 0
    assert 20 not in run.printed_losses()
    # Slurm's warning before the time limit, to a process that does not print.
    process = run.start()
    run.wait_for(lambda: "resuming after step 5 of 20" in run.log, "the second start")
    run.wait_for(lambda: 9 in run.printed_losses(), "step 9")
    os.kill(run.ranks()[1], signal.SIGUSR1)
    assert run.wait(process) == 75, run.log
    stopped = max(run.printed_losses())
    assert stopped < 20
    assert (run.run_folder / "checkpoints" / str(stopped)).is_dir()
    assert (run.run_folder / "stopped.json").exists()
    assert run.run() == 0, run.log
    assert f"resuming after step {stopped} of 20" in run.log
    assert not (run.run_folder / "stopped.json").exists()
    assert run.losses() == whole.losses()


@pytest.mark.heavy
def test_model_parallel_processes_compute_the_same(whole: JaxRun, artifacts: Artifacts) -> None:
    run = JaxRun(artifacts("jax-model-parallel"), "--model-parallel=2", "--steps=3", "--warmup-steps=1")
    assert run.run() == 0, run.log
    assert "data=1 model-parallel=2" in run.log
    losses = run.printed_losses()
    assert list(losses) == [1, 2, 3]
    assert losses[1] == pytest.approx(whole.printed_losses()[1], abs=1e-4)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--step=3"], "unrecognized arguments: --step=3"),
        (["--model-parallel=3"], "does not divide the 4 attention heads of --model tiny"),
        ([], "variables JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID are not set"),
    ],
)
def test_what_is_wrong_is_final(words: list[str], message: str, artifacts: Artifacts) -> None:
    """The launch guard takes the exit code 2 of a rank for final."""
    folder = ROOT / "workloads" / "jax"
    done = subprocess.run(
        [str(framework("jax") / "bin" / "python"), "train.py", *words],
        cwd=folder,
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
    assert message in done.stderr


@pytest.mark.parametrize("pin", [JAX, FLAX, OPTAX, ORBAX], ids=lambda pin: pin.name)
def test_the_versions_are_the_catalogs(pin: str) -> None:
    folder = ROOT / "workloads" / "jax"
    line = f"{pin.name}=={pin}\n"  # type: ignore[attr-defined]
    assert line in (folder / "environment.txt").read_text(encoding="utf-8")
    # jax itself is the image's.
    assert (line in (folder / "requirements.txt").read_text(encoding="utf-8")) is (pin != JAX)


def test_presets_tell_the_program_what_their_layout_says() -> None:
    for preset in workload("jax").presets.values():
        assert preset.layout is not None
        words = {*preset.arguments}
        assert {
            f"--global-batch={preset.global_batch}",
            f"--sequence-length={preset.tokens_per_sample}",
        } <= words
        assert (f"--model-parallel={preset.layout.tp}" in words) or preset.layout.tp == 1
