"""Pre-training of a causal language model in JAX, on a mesh of data and model parallelism over all processes.

RUN_FOLDER is where checkpoints and metrics go, and where the run continues from: a start with the same folder continues
after the newest checkpoint, on the same mesh bit for bit. `train.py --help` lists the options.
"""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import jax
from jax.experimental import multihost_utils
from jax_trainer import mesh as meshes
from jax_trainer.checkpoints import Checkpoints
from jax_trainer.options import Options, options
from jax_trainer.pretraining import Pretraining
from jax_trainer.sequences import source
from training import errors, heartbeat, metrics, process_settings
from training.errors import DATA, StoppedError, TrainingError, say
from training.run_folder import run_folder
from training.signals import mark, unmark

_STOPS = (signal.SIGTERM, signal.SIGUSR1)
"""The signals that ask a run to stop: SIGUSR1 is Slurm's warning before the time limit."""

COMPILED = "compiled"
"""Folder of the run's with what XLA has compiled."""


@dataclass(frozen=True, slots=True)
class Process:
    """This process among its run's, as reports need it."""

    first: bool
    local: int


class Training:
    """A run and the work around its steps: reports, checkpoints, a request to stop."""

    def __init__(self, settings: Options, folder: Path) -> None:
        """Begin the run, or resume it.

        Raises:
            TrainingError: as `mesh`, `source`, `Checkpoints` and `Checkpoints.restore`.
        """
        model = settings.configuration
        over = meshes.mesh(settings.model_parallel, model.width, settings.global_batch)
        jax.set_mesh(over)
        self.settings, self.stopped = settings, False
        sequences = source(settings)
        # A step's sequences follow from its number, so the number is the position. The data itself must be the same.
        fixed = {**settings.fixed(), "data": sequences.identity}
        self.checkpoints = Checkpoints(folder, settings.keep, fixed)
        self.run = Pretraining(settings, over, sequences)
        if self.checkpoints.newest is None:
            self.run.begin()
        else:
            self.run.resume(self.checkpoints.restore(self.run.abstract), self.checkpoints.newest)
        place = Process(jax.process_index() == 0, int(os.environ.get("LOCAL_RANK", "0")))
        self._report = metrics.of(place, folder, {"run": folder.name}, self.run.done)
        self._first = place.first
        tokens = settings.sequence_length
        operations = model.operations_per_token(tokens) * tokens / jax.device_count()
        self._rates = {"tokens_per_second": float(tokens), "tflops": operations / 1e12}
        if self._first:
            say(self._opening(dict(over.shape)))

    def carry_out(self) -> None:
        """Train until the last step, or until a signal has asked to stop.

        Raises:
            TrainingError: a loss is not finite; a checkpoint cannot be written.
        """
        settings = self.settings
        while self.run.done < settings.steps and not self.stopped:
            measured = self.run.step()
            done = self.run.done
            # All processes agree on the step, whichever of them got the signal.
            self.stopped = bool(multihost_utils.reached_preemption_sync_point(done))
            last = self.stopped or done == settings.steps
            due = last or done % settings.checkpoint_every == 0
            if due or done % settings.log_every == 0:
                self._report_step(done, float(measured["loss"]), float(measured["gradient_norm"]))
            self._saved()
            if due:
                self.checkpoints.save(done, self.run.state)
            heartbeat.step()
        self.checkpoints.finish()
        self._saved()
        self.checkpoints.close()
        if self._report is not None:
            self._report.close()

    def _report_step(self, step: int, loss: float, norm: float) -> None:
        if not math.isfinite(loss):
            message = (
                f"the loss is {loss} at step {step}; no checkpoint was written since it was finite; try a lower "
                "--learning-rate, or look at the data of these steps"
            )
            raise TrainingError(message if self._first else "", DATA)
        if self._report is not None:
            values = {"gradient_norm": norm}
            self._report.report(step, loss, self.settings.global_batch, rates=self._rates, values=values)

    def _saved(self) -> None:
        written = self.checkpoints.written()
        if written is not None and self._report is not None:
            self._report.saved(written)
            if self._first:
                say(f"checkpoint step={written}")

    def _opening(self, shape: dict[str, int]) -> str:
        settings, done = self.settings, self.run.done
        where = (
            f"model={settings.model} parameters={settings.configuration.parameters} processes={jax.process_count()} "
            f"data={shape[meshes.DATA]} model-parallel={shape[meshes.MODEL]} device={jax.default_backend()} "
            f"precision={settings.precision} sequences={settings.data}"
        )
        return f"resuming after step {done} of {settings.steps}: {where}" if done else f"starting: {where}"


def _pass_on(_number: int, _frame: FrameType | None) -> None:
    """Turn SIGUSR1, Slurm's warning before the time limit, into SIGTERM, which JAX's preemption service listens to."""
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Train as the command line and the environment say.

    Raises:
        TrainingError: as `join` and `Training`.
        StoppedError: a signal asked to stop; `stopped.json` is in the folder.
    """
    settings = options()
    heartbeat.begin()
    folder = run_folder()
    process_settings.raise_open_files()
    signal.signal(signal.SIGUSR1, _pass_on)
    # JAX stops a run one step after the last that it was asked about. A signal before the first question would choose
    # step 1, which a run that resumes is past: it waits until JAX knows the step.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    meshes.join(settings.device)
    meshes.keep_compiled(folder / COMPILED)
    first = jax.process_index() == 0
    if first:
        unmark(folder)
    training = Training(settings, folder)
    multihost_utils.reached_preemption_sync_point(training.run.done)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    training.carry_out()
    done = training.run.done
    if training.stopped and first:
        mark(folder, done, signal.SIGTERM)
    meshes.leave()
    if training.stopped:
        message = f"stopped by a signal after step {done}, which is saved; start again to resume"
        raise StoppedError(message if first else "")
    if first:
        say(f"done after step {done}")


if __name__ == "__main__":
    errors.run(main)
