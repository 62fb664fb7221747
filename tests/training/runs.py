"""Runs of a workload on this machine: the local renderer's very script, in a folder of its own."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster_infos import with_environment
from workloads import registry
from workloads.render.local import local
from workloads.spec import Run

DEADLINE_SECONDS = 300
"""Timeout of a wait. It is no promise of speed: a machine that others use may be slow. A run that ended before
what it was waited for is told of at once."""


class LocalRun:
    """A workload's preset in `folder`, started as often as a test likes; its run folder is the same each time."""

    def __init__(
        self,
        name: str,
        preset: str,
        folder: Path,
        *arguments: str,
        ranks: int = 2,
        environment: Path = Path(sys.prefix),
    ) -> None:
        self.folder = folder
        workload = registry.workload(name)
        chosen = workload.presets[preset]
        chosen = dataclasses.replace(chosen, arguments=(*chosen.arguments, *arguments), nodes=ranks)
        info = with_environment("local", folder, partitions={}, environment=str(environment))
        text = local(Run.on_type(workload, chosen, chosen.instance_type, ranks), info)
        self.script = folder / "run.sh"
        folder.mkdir(parents=True, exist_ok=True)
        self.script.write_text(text, encoding="utf-8")
        self.run_folder = folder / "runs" / name / "t1"
        self.data_folder = folder / "data" / "mnist"
        self._log = folder / "log.txt"
        self._started: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Output of all starts."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start the script in a session of its own."""
        variables = {**os.environ, "TRAINFORGE_RUN_ID": "t1", **environment}
        with self._log.open("ab") as log:
            self._started = subprocess.Popen(
                ["bash", str(self.script)], env=variables, stdout=log, stderr=log, start_new_session=True
            )
        return self._started

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for a start and return its exit code; all that it started ends with it."""
        try:
            return process.wait(timeout=DEADLINE_SECONDS)
        finally:
            for started in [*self.ranks(), process.pid]:
                try:
                    os.kill(started, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def run(self, **environment: str) -> int:
        """Start the script, wait, and return its exit code."""
        return self.wait(self.start(**environment))

    def records(self) -> list[dict[str, Any]]:
        """Return the lines of the metrics file."""
        return records_of(self.run_folder)

    def losses(self) -> dict[int, str]:
        """Return each step's loss as the hexadecimal text of its bits."""
        return losses_of(self.run_folder)

    def checkpoints(self) -> list[Path]:
        """Return the checkpoint files, the oldest first."""
        return sorted((self.run_folder / "checkpoints").glob("step-*.pt"))

    def wait_for(self, reached: Callable[[], object], what: str) -> None:
        """Wait until something is reached, or until the run has ended without it."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not reached():
            ended = self._started is not None and self._started.poll() is not None
            assert not ended or reached(), f"{what}: the run ended before\n{self.log}"
            assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_SECONDS} s\n{self.log}"
            time.sleep(0.05)

    def wait_for_step(self, step: int) -> None:
        """Wait until a step was reported."""
        self.wait_for(lambda: any(record["step"] >= step for record in self.records()), f"step {step}")

    def ranks(self) -> list[int]:
        """Return the process ids of this run's trainers, rank 0 first."""
        return rank_processes(str(self.run_folder))


def fsdp_losses(shared: Path, *arguments: str) -> dict[int, str]:
    """Return the losses of an uninterrupted run of fsdp's tiny preset under torchrun, as `LocalRun.losses`.

    `shared` is a folder that all workers of the tests share: one of them runs it, once.
    """
    folder = shared / f"fsdp-{hashlib.sha256(' '.join(arguments).encode()).hexdigest()[:16]}"
    folder.mkdir(exist_ok=True)
    whole = LocalRun("fsdp", "tiny", folder, *arguments)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            assert whole.run() == 0, whole.log
            (folder / "done").touch()
    return whole.losses()


def records_of(run_folder: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a run's metrics file."""
    path = run_folder / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def losses_of(run_folder: Path) -> dict[int, str]:
    """Return each step's loss as the hexadecimal text of its bits; the last line of a step counts."""
    return {record["step"]: record["loss_hex"] for record in records_of(run_folder)}


def rank_processes(run_folder: str) -> list[int]:
    """Return the process ids of the trainers of a run, rank 0 first, by the run's folder as they know it."""
    mark = f"RUN_FOLDER={run_folder}".encode()
    rank_of, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environment = (path / "environ").read_bytes().split(b"\0")
            parent = (
                (path / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
            )
        except OSError:
            continue
        words = dict(word.split(b"=", 1) for word in environment if b"=" in word)
        # An operator gives the whole pod a RANK, which is the node's.
        if mark in environment and b"LOCAL_RANK" in words:
            rank_of[int(path.name)], parents[int(path.name)] = int(words[b"RANK"]), int(parent)
    # What a trainer starts has its environment.
    trainers = [process for process in rank_of if parents[process] not in rank_of]
    return sorted(trainers, key=lambda process: rank_of[process])
