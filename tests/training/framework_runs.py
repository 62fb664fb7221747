"""Runs of workloads whose program is a framework's: in an environment of their own, judged by the lines they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from tests.programs import in_ci, not_available
from tests.progress_log import matching
from tests.training.runs import LocalRun
from workloads.local_environment import environment_of, is_made, make
from workloads.registry import workload


def framework(name: str) -> Path:
    """Return the folder of a workload's environment; where it is absent the test skips, and CI makes it."""
    if is_made(name):
        return environment_of(name)
    if not in_ci():
        not_available(f"the environment of '{name}' is not made; make env-{name}")
    return make(name)


class FrameworkRun(LocalRun):
    """A preset of a framework's workload in `folder`, as `LocalRun` starts it."""

    def __init__(self, name: str, preset: str, folder: Path, *arguments: str, ranks: int = 2) -> None:
        super().__init__(name, preset, folder, *arguments, ranks=ranks, environment=framework(name))
        self._pattern = workload(name).progress.pattern

    def printed_losses(self) -> dict[int, float]:
        """Return the loss of each step as its line says it, of the last start that took the step."""
        return {int(found["step"]): found["loss"] for found in matching(self.log, self._pattern)}

    def metrics(self) -> dict[str, float]:
        """Return the metrics of `progress.prom`, by their names without the prefix."""
        text = (self.run_folder / "progress.prom").read_text(encoding="utf-8")
        found = re.findall(r'^trainforge_progress_(\w+)\{run="t1"\} (\S+)$', text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    def kill_at(self, process: subprocess.Popen[bytes], step: int, rank: int = 1) -> int:
        """Kill a rank as soon as a step was reported, and return the exit code of the start."""
        # To find the ranks takes time in which short steps would pass.
        self.wait_for(self.printed_losses, "the first step")
        chosen = self.ranks()[rank]
        self.wait_for(lambda: step in self.printed_losses(), f"step {step}")
        os.kill(chosen, signal.SIGKILL)
        return self.wait(process)
