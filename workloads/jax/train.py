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
from training import errors, heartbeat, metrics, process_settings
from training.errors import DATA, StoppedError, TrainingError, say
from training.run_folder import run_folder
from training.signals import mark, unmark

COMPILED = "compiled"
"""Folder of the run's with what XLA has compiled."""


@dataclass(frozen=True, slots=True)
class Process:
    """This process among its run's, as reports need it."""

    first: bool
    local: int


class Training:
    """A run and the work around its steps: reports, checkpoints, a request to stop."""

    def __init__(self, chosen: Options, folder: Path) -> None:
        """Begin the run, or resume it.

        Raises:
            TrainingError: as `mesh`, `Checkpoints` and `Checkpoints.restore`.
        """
        model = chosen.configuration
        over = meshes.mesh(chosen.model_parallel, model.width, chosen.global_batch)
        jax.set_mesh(over)
        self.chosen, self.stopped = chosen, False
        self.checkpoints = Checkpoints(folder, chosen.keep, chosen.fixed())
        self.run = Pretraining(chosen, over)
        if self.checkpoints.newest is None:
            self.run.begin()
        else:
            self.run.resume(self.checkpoints.restore(self.run.abstract), self.checkpoints.newest)
        place = Process(jax.process_index() == 0, int(os.environ.get("LOCAL_RANK", "0")))
        self._report = metrics.of(place, folder, {"run": folder.name}, self.run.done)
        self._first = place.first
        tokens = chosen.sequence_length
        operations = model.operations_per_token(tokens) * tokens / jax.device_count()
        self._rates = {"tokens_per_second": float(tokens), "tflops": operations / 1e12}
        if self._first:
            say(self._opening(dict(over.shape)))

    def carry_out(self) -> None:
        """Train until the last step, or until a signal has asked to stop.

        Raises:
            TrainingError: a loss is not finite; a checkpoint cannot be written.
        """
        chosen = self.chosen
        while self.run.done < chosen.steps and not self.stopped:
            told = self.run.step()
            done = self.run.done
            # All processes agree on the step, whichever of them were told.
            self.stopped = bool(multihost_utils.reached_preemption_sync_point(done))
            last = self.stopped or done == chosen.steps
            due = last or done % chosen.checkpoint_every == 0
            if due or done % chosen.log_every == 0:
                self._tell(done, float(told["loss"]), float(told["gradient_norm"]))
            self._saved()
            if due:
                self.checkpoints.save(done, self.run.state)
            heartbeat.step()
        self.checkpoints.finish()
        self._saved()
        self.checkpoints.close()
        if self._report is not None:
            self._report.close()

    def _tell(self, step: int, loss: float, norm: float) -> None:
        if not math.isfinite(loss):
            message = (
                f"the loss is {loss} at step {step}; no checkpoint was written since it was finite; try a lower "
                "--learning-rate, or look at the data of these steps"
            )
            raise TrainingError(message if self._first else "", DATA)
        if self._report is not None:
            values = {"gradient_norm": norm}
            self._report.report(step, loss, self.chosen.global_batch, rates=self._rates, values=values)

    def _saved(self) -> None:
        written = self.checkpoints.written()
        if written is not None and self._report is not None:
            self._report.saved(written)
            if self._first:
                say(f"checkpoint step={written}")

    def _opening(self, shape: dict[str, int]) -> str:
        chosen, done = self.chosen, self.run.done
        where = (
            f"model={chosen.model} parameters={chosen.configuration.parameters} processes={jax.process_count()} "
            f"data={shape[meshes.DATA]} model-parallel={shape[meshes.MODEL]} device={jax.default_backend()} "
            f"precision={chosen.precision}"
        )
        return f"resuming after step {done} of {chosen.steps}: {where}" if done else f"starting: {where}"


def _pass_on(_number: int, _frame: FrameType | None) -> None:
    """Turn SIGUSR1, Slurm's warning before the time limit, into SIGTERM, which JAX's preemption service listens to."""
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Train as the command line and the environment say.

    Raises:
        TrainingError: as `join` and `Training`.
        StoppedError: a signal asked to stop; `stopped.json` is in the folder.
    """
    chosen = options()
    heartbeat.begin()
    folder = run_folder()
    process_settings.raise_open_files()
    signal.signal(signal.SIGUSR1, _pass_on)
    meshes.join(chosen.device)
    meshes.keep_compiled(folder / COMPILED)
    first = jax.process_index() == 0
    if first:
        unmark(folder)
    training = Training(chosen, folder)
    training.carry_out()
    done = training.run.done
    if training.stopped and first:
        mark(folder, done, signal.SIGTERM)
    meshes.leave()
    if training.stopped:
        message = f"stopped by a signal after step {done}, which is saved; start again to go on"
        raise StoppedError(message if first else "")
    if first:
        say(f"done after step {done}")


if __name__ == "__main__":
    errors.run(main)
