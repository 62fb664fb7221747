"""The line of progress: Composer's own logs give each number a line of its own."""

from __future__ import annotations

import sys
import time
from typing import Any

from composer import Logger, State
from composer.loggers import LoggerDestination
from composer.utils import dist

LOSS = "loss/train/total"
"""Composer's name of the mean loss over all ranks."""


class ProgressLine(LoggerDestination):
    """Prints the loss, the seconds and the model TFLOPS of every step on rank 0."""

    def __init__(self) -> None:
        self._loss = float("nan")
        self._since = time.monotonic()

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:  # noqa: ARG002
        """Keep the loss of the step."""
        self._loss = metrics.get(LOSS, self._loss)

    def fit_start(self, state: State, logger: Logger) -> None:  # noqa: ARG002
        """Note when the first step begins; the others begin when the one before ends, with the wait for data."""
        self._since = time.monotonic()

    def batch_end(self, state: State, logger: Logger) -> None:  # noqa: ARG002
        """Print the line."""
        if dist.get_global_rank() != 0:
            return
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        # The model of one rank's samples; without FSDP it is wrapped.
        model = getattr(state.model, "module", state.model)
        speed = ""
        if hasattr(model, "flops_per_batch"):
            speed = f" tflops={float(model.flops_per_batch(state.batch)) / seconds / 1e12:.4g}"
        step = state.timestamp.batch.value
        sys.stdout.write(f"step={step} loss={self._loss:.6f} seconds_per_step={seconds:.4f}{speed}\n")
        sys.stdout.flush()
