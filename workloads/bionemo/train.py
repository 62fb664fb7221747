"""Pre-training of ESM-2 from transformers' configuration, data-parallel, on masked amino-acid sequences.

RUN_FOLDER is where checkpoints and metrics go, and where the run continues from: a start with the same folder continues
after the newest checkpoint, with the same losses. `train.py --help` lists the options.
"""

from __future__ import annotations

import gc
import os
import time
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    # Loading torch makes objects that live as long as the process: looking for garbage among them takes a fifth of a
    # rank's start. `errors.run` turns the collector on again.
    gc.disable()
    # The model is built from its configuration: nothing is asked of the Hugging Face hub.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

from esm2_trainer.options import Options, options
from esm2_trainer.pretraining import Pretraining
from esm2_trainer.sizes import SIZES
from training import errors, metrics, start
from training.errors import TrainingError, say
from training.process_group import Ranks
from training.signals import StopSignal

PROTEINS = "PROTEINS_FOLDER"
"""The variable with the folder of the sequences that the stage `download` makes."""


def train(settings: Options, ranks: Ranks, folder: Path, stop: StopSignal) -> tuple[int, int]:
    """Train and return the last step done and the signal that asked to stop, or 0."""
    proteins = os.environ.get(PROTEINS, "")
    if settings.data == "proteins" and not proteins:
        raise TrainingError(f"--data proteins needs the variable {PROTEINS}, which is not set")
    run = Pretraining(settings, ranks, folder, proteins)
    length = settings.sequence_length
    operations = SIZES[settings.model].operations(length) * length / ranks.count
    rates = {"tokens_per_second": float(length), "tflops": operations / 1e12}
    report = metrics.of(ranks, folder, {"run": folder.name}, run.done)
    if ranks.first:
        weights = sum(each.numel() for each in run.model.parameters())
        where = (
            f"model={settings.model} parameters={weights} ranks={ranks.count} device={ranks.device.type} "
            f"precision={settings.precision} data={settings.data}"
        )
        say(
            f"resuming after step {run.done} of {settings.steps}: {where}"
            if run.done
            else f"starting: {where}"
        )
    asked, due, logged = 0, False, False
    # After a skipped step nothing is saved or reported: both wait for the next step that is applied.
    while run.done < settings.steps and not (asked and not due):
        stop.begin(ranks)
        begun = time.monotonic()
        step = run.step()
        time.sleep(max(0.0, begun + settings.step_seconds - time.monotonic()))
        asked = stop.agreed()
        last = run.done == settings.steps
        due = due or bool(asked) or last or run.done % settings.checkpoint_every == 0
        logged = logged or last or run.done % settings.log_every == 0
        if logged and step.applied:
            logged = False
            values = {"learning_rate": step.rate, "gradient_norm": step.norm}
            if report:
                report.report(run.done, step.loss, settings.global_batch, rates=rates, values=values)
        if due and (step.applied or last):
            due = False
            run.save()
            if report:
                report.saved(run.done)
    if report:
        report.close()
    return run.done, asked


def main() -> None:
    """Train as the command line and the environment say."""
    settings = options()
    start.carry_out(partial(train, settings), settings.device, settings.threads)


if __name__ == "__main__":
    errors.run(main)
