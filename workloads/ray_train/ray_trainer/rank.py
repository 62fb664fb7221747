"""A rank of Ray Train: it runs the loop of the workload fsdp in the process group that Ray Train has made."""

from __future__ import annotations

from functools import partial
from typing import Any

from fsdp_trainer.loop import train
from fsdp_trainer.options import Options
from ray_trainer import refusal
from ray_trainer.stop_file import StopFile
from training import process_settings, start
from training.errors import StoppedError, TrainingError, say
from training.run_folder import run_folder


def run_rank(given: dict[str, Any]) -> int:
    """Train as the options say, and return the exit code of the run: 0, or 75 where it was asked to stop and has saved.

    Nothing is reported to Ray Train: each `ray.train.report` waits until the controller asks, every two seconds, and
    checkpoints and metrics are in the run's folder.

    Raises:
        TrainingError: Ray Train starts all ranks again, which then end at once.
    """
    chosen = Options(**given)
    folder = run_folder()
    refused = refusal.find(folder)
    if refused is not None:
        return refused.code
    if chosen.deterministic:
        process_settings.ask_determinism()
    try:
        start.carry_out(partial(train, chosen), chosen.device, chosen.threads, StopFile())
    except StoppedError as stopped:
        if str(stopped):
            say(str(stopped), error=True)
        return stopped.code
    except TrainingError as error:
        refusal.keep(folder, error)
        raise
    return 0
