"""Batch scripts that a real Slurm runs to their end."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster_infos import with_environment
from tests.slurm.cluster import SlurmCluster
from workloads.render.slurm import slurm as render
from workloads.spec import Run

DEADLINE_SECONDS = 600
"""Timeout of a wait. It is no promise of speed: a machine that others use may be slow."""

_UNDERWAY = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED")


def write_script(folder: Path, run: Run, environment: Path = Path(sys.prefix)) -> Path:
    """Write a run's script into `folder`, with its shared file system there, and return its path."""
    info = with_environment("parallelcluster", folder / "shared", environment=str(environment))
    (folder / "shared").mkdir()
    script = folder / "job.sbatch"
    script.write_text(render(run, info), encoding="utf-8")
    return script


@dataclass(frozen=True)
class BatchJob:
    """A submitted script, whose log is in the script's folder."""

    cluster: SlurmCluster
    script: Path
    id: str

    @classmethod
    def submit(cls, cluster: SlurmCluster, script: Path) -> BatchJob:
        """Submit a script from its own folder."""
        return cls(
            cluster, script, cluster.run("sbatch", "--parsable", script.name, directory=script.parent).strip()
        )

    @property
    def log(self) -> str:
        """Output of the job so far."""
        return "".join(
            path.read_text(encoding="utf-8") for path in self.script.parent.glob(f"*_{self.id}.out")
        )

    def shown(self, field: str) -> str:
        """Return a field of the job, as scontrol shows it."""
        found = re.search(rf"\b{field}=(\S+)", self.cluster.run("scontrol", "show", "job", self.id))
        assert found, field
        return found[1]

    def wait_for(self, reached: Callable[[], object], what: str) -> None:
        """Wait until something is reached, or until the job has ended without it."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not reached():
            ended = self.shown("JobState") not in _UNDERWAY
            assert not ended or reached(), f"{what}: the job ended before\n{self.log}"
            assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_SECONDS} s\n{self.log}"
            time.sleep(0.2)

    def end(self) -> tuple[str, int]:
        """Wait until the job has ended, and return its state and its script's exit code."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (state := self.shown("JobState")) in _UNDERWAY:
            assert time.monotonic() < deadline, f"not ended within {DEADLINE_SECONDS} s\n{self.log}"
            time.sleep(0.2)
        return state, int(self.shown("ExitCode").partition(":")[0])
