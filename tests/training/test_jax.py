"""The workload jax for real: two processes over gloo on tokens of its stage, killed, resumed and stopped, and Slurm.

Synthetic sequences train in the pods of tests/kubernetes/test_framework_jobs.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ports import free_ports
from tests.programs import ROOT
from tests.slurm.batch_jobs import BatchJob, write_script
from tests.slurm.cluster import SlurmCluster
from tests.training.framework_runs import FrameworkRun, framework
from tests.training.runs import losses_of
from workloads.registry import workload
from workloads.spec import Run

COMPILED = "JAX_COMPILATION_CACHE_DIR"
FOLDER = ROOT / "workloads" / "jax"
PATH = f"{FOLDER}:{ROOT / 'workloads' / 'runtime'}"
TOKENS = ("data", "c4-llama2")
"""The place of the stage's tokens in the shared file system."""

READS = """
import json, os, sys
from pathlib import Path
import jax
from jax_trainer import mesh, sequences
from jax_trainer.options import options
from jax_trainer.token_file import TokenFile

class Recorded(TokenFile):
    read = []

    def take(self, numbers):
        self.read += [int(place) for place in self.places(numbers)]
        return super().take(numbers)

mesh.join("cpu")
chosen = options(sys.argv[2:])
file = Recorded(Path(sys.argv[1]), chosen.sequence_length, chosen.configuration.vocabulary, chosen.seed)
over = mesh.mesh(1, chosen.configuration.width, chosen.global_batch)
for step in (1, 2, 3):
    sequences.global_batch(file, step, chosen.global_batch, mesh.batches(over))
print(json.dumps(file.read))
mesh.leave()
"""
"""A process of a run that reads the windows of three steps, and says which they were."""

Artifacts = Callable[[str], Path]


class JaxRun(FrameworkRun):
    """A run of the preset `tiny` on tokens of text; what one compiles the others load."""

    def __init__(self, folder: Path, tokens: Path, *arguments: str) -> None:
        super().__init__("jax", "tiny", folder, "--data=tokens", *arguments)
        self.tokens = lay(tokens, folder)
        self.compiled = str(folder.parent / "compiled")

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start the script."""
        return super().start(**{COMPILED: self.compiled}, **environment)


def lay(tokens: Path, shared: Path) -> Path:
    """Put the tokens of the stage into a shared file system, and return their folder there."""
    folder = shared.joinpath(*TOKENS)
    folder.parent.mkdir(parents=True)
    folder.symlink_to(tokens)
    return folder


@pytest.fixture(scope="module")
def tokens(artifacts: Artifacts) -> Path:
    """The tokens of a text, as the workload's stage makes them: bytes, so that no tokenizer is fetched."""
    folder = artifacts("jax-tokens")
    text = folder / "text.jsonl"
    words = ("model", "trains", "on", "text", "of", "words", "and", "reads", "each", "once")
    lines = [" ".join(words[(line * 7 + place * place) % 10] for place in range(40)) for line in range(120)]
    text.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines), encoding="utf-8")
    subprocess.run(
        [
            *(str(framework("jax") / "bin" / "python"), "preprocess.py"),
            *("--tokenizer=bytes", "--text", str(text)),
        ],
        cwd=FOLDER,
        env={**os.environ, "TOKENS_FOLDER": str(folder / "tokens"), "PYTHONPATH": PATH},
        check=True,
    )
    return folder / "tokens"


@pytest.fixture(scope="module")
def whole(artifacts: Artifacts, tokens: Path) -> JaxRun:
    """A run that nobody interrupted."""
    run = JaxRun(artifacts("jax-whole"), tokens)
    assert run.run() == 0, run.log
    return run


@pytest.mark.heavy
def test_the_loss_falls_and_one_process_prints(whole: JaxRun) -> None:
    losses = whole.printed_losses()
    assert list(losses) == list(range(1, 21))
    assert losses[20] < losses[1] - 1
    assert len(re.findall(r"^step=7 ", whole.log, re.MULTILINE)) == 1
    assert "processes=2 data=2 model-parallel=1 device=cpu" in whole.log
    assert "sequences=tokens" in whole.log
    # The options that a start which resumes the run must have: other tokens are refused.
    fixed, made = (
        json.loads(file.read_text(encoding="utf-8"))
        for file in (whole.run_folder / "options.json", whole.tokens / "tokens.json")
    )
    assert fixed["data"] == made["sha256"]
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
    preset = replace(preset, arguments=(*preset.arguments, "--data=tokens"))
    run = Run.on_type(described, preset, preset.instance_type, 2, "cpu")
    script = write_script(folder, run, framework("jax"))
    lay(whole.tokens, folder / "shared")
    # The job has the variables of the shell that submits it.
    monkeypatch.setenv(COMPILED, whole.compiled)
    with SlurmCluster(folder / "cluster", {"cpu": ["n1", "n2"]}) as cluster:
        job = BatchJob.submit(cluster, script)
        assert job.end() == ("COMPLETED", 0), job.log
    assert "processes=2 data=2 model-parallel=1 device=cpu" in job.log
    assert losses_of(folder / "shared" / "runs" / "jax" / job.id) == whole.losses()


@pytest.fixture(scope="module")
def killed(artifacts: Artifacts, tokens: Path) -> tuple[JaxRun, JaxRun]:
    """A run of which a process was killed after the first checkpoint, and a copy of it for another mesh."""
    run = JaxRun(artifacts("jax-killed"), tokens)
    process = run.start()
    # It is written while the run continues, and is whole before that of step 10 begins.
    run.wait_for(lambda: "checkpoint step=5" in run.log, "the first checkpoint")
    os.kill(run.ranks()[1], signal.SIGKILL)
    assert run.wait(process) != 0
    assert 20 not in run.printed_losses()
    copy = JaxRun(artifacts("jax-other-mesh"), tokens, "--model-parallel=2")
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
def test_two_processes_read_other_sequences(tokens: Path) -> None:
    """Together they read each window of a step once, and a step those that no step before has read."""
    [port] = free_ports(1)
    variables = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": "2", "PYTHONPATH": PATH}
    started = [
        subprocess.Popen(
            [str(framework("jax") / "bin" / "python"), "-c", READS, str(tokens), "--sequence-length=64"],
            env={**os.environ, **variables, "JAX_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    reads = [json.loads(process.communicate()[0]) for process in started]
    assert [len(read) for read in reads] == [12, 12]
    assert len({*reads[0], *reads[1]}) == 24


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
