"""Signals that ask a run to save and stop, and the agreement of all ranks on them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from training import heartbeat

if TYPE_CHECKING:
    from training.process_group import Ranks

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""SIGTERM is what every scheduler sends before it kills; SIGUSR1 is what Slurm sends before the time limit."""

MARKER = "stopped.json"
"""File in the run's folder that shows a scheduler's script that the run must be resumed: torchrun ends with 1
whatever its ranks end with, so the exit code alone does not show it."""


class StopSignal:
    """The request to stop this run.

    A signal may reach one rank only, or each at another step; leaving the loop alone would hang the others.
    So every step all ranks take the maximum of the signals that they received: begun before the step computes and read
    after it, so that the exchange hides behind the computation.
    """

    def __init__(self) -> None:
        self.received: int = 0
        self._exchange: tuple[Any, Any] | None = None

    def listen(self) -> None:
        """Install the handlers; the process is no longer ended by these signals."""
        for number in SIGNALS:
            signal.signal(number, self._hear)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self.received = number

    def begin(self, ranks: Ranks) -> None:
        """Begin a step's exchange; each must be followed by `agreed`."""
        import torch
        import torch.distributed as dist

        assert self._exchange is None
        number = torch.tensor([self.received])
        work = dist.all_reduce(number, op=dist.ReduceOp.MAX, group=ranks.saving, async_op=True)
        self._exchange = (work, number)

    def agreed(self) -> int:
        """Return the signal that any rank had received when the step began, or 0; equal on all ranks.

        All ranks have done the step then, which the heartbeat tells.
        """
        assert self._exchange is not None
        work, number = self._exchange
        work.wait()
        self._exchange = None
        heartbeat.step()
        return int(number.item())


def mark(folder: Path, step: int, number: int) -> None:
    """Write the marker: the step that was saved and the signal that asked."""
    text = json.dumps({"step": step, "signal": signal.Signals(number).name})
    temporary = folder / f".{MARKER}.tmp"
    temporary.write_text(f"{text}\n", encoding="utf-8")
    os.replace(temporary, folder / MARKER)


def unmark(folder: Path) -> None:
    """Remove the marker of the start before; this start writes its own."""
    (folder / MARKER).unlink(missing_ok=True)
