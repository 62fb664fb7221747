"""A workload by the script of its AWS Batch job definition, for real: N nodes' processes on this machine, over gloo.

Patched for it: the image's folders and the shared file system are folders here, and so is the port.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.batch_nodes import JOB, own_address, variables
from tests.cluster_infos import with_images
from tests.ports import free_ports
from tests.programs import checkout, require_module, search_path
from tests.progress_log import series
from tests.training.runs import DEADLINE_SECONDS
from workloads import entry, registry
from workloads.launchers import RENDEZVOUS_PORT
from workloads.render.batch import batch
from workloads.restarts import LOST_NODE
from workloads.spec import Run

require_module("torch", "make setup-train installs it")

STEPS = 60


class BatchJob:
    """The tiny preset of a workload, by the definition that is rendered for two nodes, on as many as a test likes."""

    def __init__(self, name: str, folder: Path, *arguments: str) -> None:
        self._folder = folder
        workload = registry.workload(name)
        preset = workload.presets["tiny"]
        info = with_images("batch", folder, {name: "registry.example/workload:1"})
        definition = json.loads(batch(Run.on_type(workload, preset, preset.instance_type, 2), info))
        [nodes] = definition["nodeProperties"]["nodeRangeProperties"]
        self._shell, self._option, text = nodes["container"]["command"]
        port = f"--master-port={RENDEZVOUS_PORT}"
        patches = {
            entry.PROGRAM_FOLDER: str(checkout() / "workloads" / workload.package),
            entry.RUNTIME_FOLDER: str(checkout() / "workloads" / "runtime"),
            port: f"--master-port={free_ports(1)[0]}",
        }
        if arguments:
            patches["/train.py"] = f"/train.py {' '.join(arguments)}"
        for inside, here in patches.items():
            assert inside in text
            text = text.replace(inside, here)
        self._text = text
        self.run_folder = folder / "runs" / name / JOB
        self._address = own_address()
        self.nodes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, node: int, count: int, *, attempt: str = "1", **extra: str) -> None:
        """Start a node, in a session of its own."""
        batch = variables(node, count, self._address) | {"AWS_BATCH_JOB_ATTEMPT": attempt}
        environment = {
            **os.environ,
            "PATH": search_path(),
            "TRAINFORGE_HEARTBEAT_SECONDS": "1",
            **extra,
            **batch,
        }
        with self._output(node).open("ab") as output:
            self.nodes[node] = subprocess.Popen(
                [self._shell, self._option, self._text],
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def log(self, node: int = 0) -> str:
        """Output of a node."""
        return self._output(node).read_text(encoding="utf-8")

    def code(self, node: int) -> int:
        """Wait for a node and return its exit code."""
        return self.nodes[node].wait(timeout=DEADLINE_SECONDS)

    def lose(self, node: int) -> None:
        """End all that runs on a node without notice; torchrun has its ranks in sessions of their own."""
        for started in [self.nodes[node].pid, *self._started(node)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(started, signal.SIGKILL)
        self.nodes[node].wait(timeout=DEADLINE_SECONDS)

    def _output(self, node: int) -> Path:
        return self._folder / f"node-{node}.log"

    def _started(self, node: int) -> Iterator[int]:
        marks = {f"RUN_FOLDER={self.run_folder}".encode(), f"AWS_BATCH_JOB_NODE_INDEX={node}".encode()}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if marks <= set((path / "environ").read_bytes().split(b"\0")):
                    yield int(path.name)


@pytest.fixture
def job_of(artifacts: Callable[[str], Path]) -> Iterator[Callable[..., BatchJob]]:
    """Return a function that makes a job; all that is left of its nodes ends with the test."""
    made: list[BatchJob] = []

    def job(name: str, *arguments: str) -> BatchJob:
        made.append(BatchJob(name, artifacts(f"{name}-batch-{len(made)}"), *arguments))
        return made[-1]

    yield job
    for each in made:
        for node in each.nodes:
            each.lose(node)


def metrics(name: str, log: str) -> dict[str, list[float]]:
    return series(log, registry.workload(name).progress.pattern)


@pytest.mark.proof("cpu-ddp", "batch", "executed (operator simulated)")
@pytest.mark.proof("fsdp", "batch", "executed (operator simulated)")
@pytest.mark.parametrize(
    ("name", "order"),
    [
        pytest.param("cpu-ddp", [0], id="cpu-ddp, one node"),
        pytest.param("cpu-ddp", [0, 1], id="cpu-ddp, main first"),
        pytest.param("cpu-ddp", [1, 0], id="cpu-ddp, main late"),
        pytest.param("fsdp", [0, 1], id="fsdp", marks=pytest.mark.heavy),
    ],
)
def test_nodes_train_together(name: str, order: list[int], job_of: Callable[..., BatchJob]) -> None:
    """In any order, which is the script's matter and not the workload's."""
    job = job_of(name)
    for node in order:
        job.start(node, len(order))
    assert {node: job.code(node) for node in order} == dict.fromkeys(order, 0), job.log()
    losses = metrics(name, job.log())["loss"]
    assert len(losses) == STEPS
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert re.search(rf"^starting: .*\branks={len(order)}\b", job.log(), re.MULTILINE)


def test_a_lost_node_ends_the_job_and_its_next_attempt_resumes(
    job_of: Callable[..., BatchJob],
) -> None:
    job = job_of("cpu-ddp", "--step-seconds=0.2")
    for node in (0, 1):
        job.start(node, 2, TRAINFORGE_LOST_SECONDS="30")
    wait_for_step(job, 25)
    job.lose(1)
    assert job.code(0) == LOST_NODE, job.log()
    assert "node 1 has been silent for 30 s: it is lost" in job.log()
    for node in (0, 1):
        job.start(node, 2, attempt="2")
    assert [job.code(node) for node in (0, 1)] == [0, 0], job.log()
    assert re.search(rf"^resuming after step \d+ of {STEPS}: ranks=2", job.log(), re.MULTILINE)


def test_a_program_that_fails_on_every_node_is_not_tried_again(job_of: Callable[..., BatchJob]) -> None:
    """Its exit code is the rank's own (66, an input that is missing), which no rule of the definition retries."""
    job = job_of("cpu-ddp", "--data=mnist")
    for node in (0, 1):
        job.start(node, 2)
    assert job.code(0) == 66, job.log()
    assert "train-images-idx3-ubyte" in job.log()
    assert "lost" not in job.log().splitlines()[-1]


def wait_for_step(job: BatchJob, step: int) -> None:
    """Wait until a step was reported."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not any(done >= step for done in metrics("cpu-ddp", job.log())["step"]):
        assert job.nodes[0].poll() is None, job.log()
        assert time.monotonic() < deadline, job.log()
        time.sleep(0.05)
