"""Marks for nsys: `nsys profile --capture-range=cudaProfilerApi` captures what is between them."""

from __future__ import annotations

import torch
from training.errors import TrainingError
from training.process_group import Ranks


class Capture:
    """Starts the profiler before the first of some steps and stops it after the last; nothing without steps."""

    def __init__(self, steps: tuple[int, int] | None, ranks: Ranks) -> None:
        """Prepare.

        Raises:
            TrainingError: there is no GPU to profile.
        """
        if steps and ranks.device.type != "cuda":
            raise TrainingError("--profile is for nsys on GPUs, and this run has none")
        self._steps = steps
        self._running = False

    def before(self, step: int) -> None:
        """Start before the first step; name every step that is captured."""
        if not self._steps:
            return
        if step == self._steps[0]:
            torch.cuda.synchronize()
            torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
            self._running = True
        if self._running:
            torch.cuda.nvtx.range_push(f"step {step}")  # type: ignore[no-untyped-call]

    def after(self, step: int) -> None:
        """Stop after the last step."""
        if not self._steps or not self._running:
            return
        torch.cuda.nvtx.range_pop()  # type: ignore[no-untyped-call]
        if step >= self._steps[1]:
            self.close()

    def close(self) -> None:
        """Stop, if it runs: a run may end before the last step."""
        if self._running:
            torch.cuda.synchronize()
            torch.cuda.profiler.stop()  # type: ignore[no-untyped-call]
            self._running = False
