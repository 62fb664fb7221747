"""The capture of some steps of this rank, by torch's profiler or by nsys, as the launch has asked for it.

The launch sets the variables below (`--profile` of `trainforge launch`). torch's profiler writes a Chrome trace to the
folder `profile` of the run's folder. nsys runs around the rank (`profiled_rank.py`) and captures what is between
cudaProfilerStart and cudaProfilerStop (Nsight Systems User Guide, `--capture-range=cudaProfilerApi`).
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from profiled_ranks import PROFILER, RANKS, STEPS, chosen_rank, steps_of, trace_folder

from training import heartbeat
from training.errors import TrainingError, say
from training.process_group import Ranks


class Capture:
    """Starts a profiler before the first of the chosen steps and stops it after the last, each step with its name.

    It does nothing where no profile is asked for, or not of this rank.
    """

    def __init__(self, ranks: Ranks, steps: int) -> None:
        """Read what is asked for; `steps` is the number of steps of the run.

        Raises:
            TrainingError: a variable is wrong, the run ends before the last of the steps, or nsys is to profile a run
                without GPUs.
        """
        self._ranks = ranks
        self._kind = os.environ.get(PROFILER, "")
        self._torch: torch.profiler.profile | None = None
        self._step: torch.profiler.record_function | None = None
        self._running = self._over = False
        if not self._kind:
            return
        try:
            self._first, self._last = steps_of(os.environ.get(STEPS, ""))
            chosen = chosen_rank(os.environ.get(RANKS, ""), ranks.rank)
        except ValueError as error:
            raise TrainingError(str(error)) from error
        if self._kind not in ("torch", "nsys"):
            raise TrainingError(f"{PROFILER} is '{self._kind}'; it is torch or nsys")
        if self._last > steps:
            raise TrainingError(
                f"the profile ends at step {self._last}, and the run at {steps}; give --profile-steps FIRST:LAST"
            )
        if self._kind == "nsys" and ranks.device.type != "cuda":
            raise TrainingError("nsys captures steps on GPUs, and this run has none; take --profile torch")
        if not chosen:
            self._kind = ""

    def before(self, step: int) -> None:
        """Start where a step is the first that is captured; a resumed run may begin within them. Name the step."""
        if not self._kind or self._over or not self._first <= step <= self._last:
            return
        if not self._running:
            self._start()
        if self._kind == "nsys":
            torch.cuda.nvtx.range_push(f"step {step}")  # type: ignore[no-untyped-call]
        else:
            self._step = torch.profiler.record_function(f"step {step}")
            self._step.__enter__()

    def after(self, step: int) -> None:
        """End the step, and the capture after the last one."""
        if not self._running:
            return
        if self._ranks.device.type == "cuda":
            # What a step has started on the GPU is the step's.
            torch.cuda.synchronize()
        if self._kind == "nsys":
            torch.cuda.nvtx.range_pop()  # type: ignore[no-untyped-call]
        elif self._step is not None:
            self._step.__exit__(None, None, None)
            self._step = None
        if step >= self._last:
            self.close()

    def close(self) -> None:
        """Stop the capture, if it runs: a run may end before the last step."""
        if self._running:
            self._stop()

    @heartbeat.phase("profile")
    def _stop(self) -> None:
        """Stop the capture. To write a trace of many operations takes longer than a step may."""
        self._running, self._over = False, True
        if self._torch is None:
            torch.cuda.profiler.stop()  # type: ignore[no-untyped-call]
        else:
            self._torch.stop()
            self._write(self._torch)
            self._torch = None

    def _start(self) -> None:
        self._running = True
        if self._ranks.device.type == "cuda":
            torch.cuda.synchronize()
        if self._kind == "nsys":
            torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
            return
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self._ranks.device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._torch = torch.profiler.profile(activities=activities)
        self._torch.start()

    def _write(self, profiler: torch.profiler.profile) -> None:
        """Write the trace. A full disk is not a reason to end the run."""
        try:
            folder = trace_folder(os.environ)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"rank-{self._ranks.rank}.json.gz"
            # The name's end makes torch compress the file.
            writing = Path(folder, f".{path.name.removesuffix('.json.gz')}.writing.json.gz")
            profiler.export_chrome_trace(str(writing))
            os.replace(writing, path)
        except (OSError, RuntimeError, ValueError) as error:
            say(f"the profile of rank {self._ranks.rank} cannot be written: {error}", error=True)
        else:
            if self._ranks.first:
                say(f"profile steps={self._first}:{self._last} folder={folder}")
