"""One start of a run: its folder, the signals that end it, its ranks, and its last message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training import heartbeat, process_settings
from training.errors import StoppedError, say
from training.process_group import Ranks, joined
from training.run_folder import CHECKPOINTS as CHECKPOINTS
from training.run_folder import FOLDER as FOLDER
from training.run_folder import run_folder
from training.signals import StopSignal, mark, unmark

Train = Callable[[Ranks, Path, StopSignal], tuple[int, int]]
"""Function that trains: given the ranks, the run's folder and the signals, it returns the last step done and the signal
that asked to stop, after which it has saved, or 0."""


def carry_out(train: Train, device: str, threads: int, stop: StopSignal | None = None) -> None:
    """Train with all ranks, and tell whether the run is done.

    `stop` takes the place of the signals of this process, where it is not they that ask a run to stop.

    Raises:
        TrainingError: the folder is not named, cannot be made, or is another user's; what `joined` and `train` raise.
        StoppedError: a signal asked to stop; `stopped.json` is in the folder.
    """
    heartbeat.begin()
    folder = run_folder()
    process_settings.raise_open_files()
    stop = stop or StopSignal()
    stop.listen()
    with joined(device, threads=threads) as ranks:
        if ranks.first:
            unmark(folder)
        done, asked = train(ranks, folder, stop)
        if asked and ranks.first:
            mark(folder, done, asked)
    if asked:
        message = f"stopped by signal {asked} after step {done}, which is saved; start again to resume"
        raise StoppedError(message if ranks.first else "")
    if ranks.first:
        say(f"done after step {done}")
