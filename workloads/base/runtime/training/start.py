"""One start of a run: its folder, the signals that end it, its ranks, and the word that it leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from training.errors import WRITE, StoppedError, TrainingError, say
from training.process_group import Ranks, joined
from training.signals import StopSignal, mark, unmark

FOLDER = "RUN_FOLDER"
"""Variable that names the folder of a run's checkpoints and metrics; the next start with it goes on."""

Train = Callable[[Ranks, Path, StopSignal], tuple[int, int]]
"""What trains: given the ranks, the run's folder and the signals, it returns the last step done, and the signal that
asked to stop, after which it has saved, or 0."""


def carry_out(train: Train, device: str, threads: int) -> None:
    """Train with all ranks, and tell whether the run is done.

    Raises:
        TrainingError: the folder is not named or cannot be made; what `joined` and `train` raise.
        StoppedError: a signal asked to stop; `stopped.json` lies in the folder.
    """
    folder = _folder()
    stop = StopSignal()
    stop.listen()
    with joined(device, threads=threads) as ranks:
        if ranks.first:
            unmark(folder)
        done, asked = train(ranks, folder, stop)
        if asked and ranks.first:
            mark(folder, done, asked)
    if asked:
        told = f"stopped by signal {asked} after step {done}, which is saved; start again to go on"
        raise StoppedError(told if ranks.first else "")
    if ranks.first:
        say(f"done after step {done}")


def _folder() -> Path:
    if not os.environ.get(FOLDER):
        raise TrainingError(
            f"variable {FOLDER} is not set; it names the folder of this run's checkpoints and metrics"
        )
    folder = Path(os.environ[FOLDER])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"run folder '{folder}' cannot be made: {error}; let {FOLDER} name a folder that this user may write to",
            WRITE,
        ) from error
    return folder
