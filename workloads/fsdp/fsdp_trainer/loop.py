"""The loop of a run on a rank: its steps, and the work around them: signals, reports, checkpoints, a profile."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from fsdp_trainer import arithmetic
from fsdp_trainer.options import Options
from fsdp_trainer.pretraining import Pretraining, Step
from training import errors, metrics
from training.errors import TrainingError, say
from training.process_group import Ranks
from training.profiling import Capture
from training.signals import StopSignal

SAVE_FAILED = 1 << 10
"""Value in the exchange of signals for a checkpoint that could not be written: above every signal's number."""


class Report:
    """Reports of this rank; most ranks report nothing."""

    def __init__(self, run: Pretraining, folder: Path) -> None:
        chosen, ranks = run.chosen, run.ranks
        self._batch = chosen.global_batch
        self._device = ranks.device
        tokens = chosen.sequence_length
        operations = arithmetic.per_token(chosen.configuration, tokens) * tokens / ranks.count
        self._rates = {"tokens_per_second": float(tokens), "tflops": operations / 1e12}
        if chosen.peak_tflops:
            self._rates["mfu"] = arithmetic.mfu(operations, chosen.peak_tflops)
        self._first = ranks.first
        self._metrics = metrics.of(ranks, folder, {"run": folder.name}, run.done)

    def step(self, number: int, loss: float, values: dict[str, float]) -> None:
        """Report a step."""
        if self._metrics is None:
            return
        if self._device.type == "cuda":
            values = {**values, "memory_gib": torch.cuda.max_memory_allocated(self._device) / 2**30}
        self._metrics.report(number, loss, self._batch, rates=self._rates, values=values)

    def saved(self, step: int) -> None:
        """Report a checkpoint that is on the disk."""
        if self._first:
            say(f"checkpoint step={step}")
        if self._metrics is not None:
            self._metrics.saved(step)

    def close(self) -> None:
        """Report the end of the run."""
        if self._metrics is not None:
            self._metrics.close()


class Training:
    """A run and the work around its steps: signals, reports, checkpoints, a profile."""

    def __init__(self, chosen: Options, ranks: Ranks, folder: Path, stop: StopSignal) -> None:
        """Build the run, or resume it.

        Raises:
            TrainingError: as `Pretraining` and `Capture`.
        """
        self.run = Pretraining(chosen, ranks, folder)
        self.asked = 0
        self._due = False
        self._logged = False
        self._validated: dict[str, float] = {}
        self._ranks = ranks
        self._stop = stop
        self._capture = Capture(ranks, chosen.steps)
        self._report = Report(self.run, folder)

    @property
    def over(self) -> bool:
        """True if the last step is done, or a signal has asked to stop and no checkpoint is due."""
        return self.run.done >= self.run.chosen.steps or (bool(self.asked) and not self._due)

    def advance(self) -> None:
        """Do a step and what is due after it."""
        run, stop = self.run, self._stop
        if run.checkpoints.written:
            self.finish_save()
        elif run.checkpoints.failed:
            stop.received = SAVE_FAILED
        stop.begin(self._ranks)
        begun = time.monotonic()
        self._capture.before(run.done + 1)
        step = run.step()
        self._capture.after(run.done)
        time.sleep(max(0.0, begun + run.chosen.step_seconds - time.monotonic()))
        self.asked = stop.agreed()
        if self.asked == SAVE_FAILED:
            self.finish_save()
        self._follow_up(step)

    def finish_save(self) -> None:
        """Wait for the checkpoint that is on its way.

        Raises:
            TrainingError: it could not be written.
        """
        self.run.finish_save(self._report.saved)

    def close(self) -> None:
        """Wait for the last checkpoint and leave."""
        self.finish_save()
        self._capture.close()
        self._report.close()
        self.run.close()

    def _follow_up(self, step: Step) -> None:
        """Do what is due after a step: save, validate, report.

        The checkpoint is on its way before the validation begins, which may fail. After a skipped step none is
        written and nothing is reported: both wait for the next step that is applied, and a stop waits for the
        checkpoint. The last step alone has no next one: its checkpoint holds the weights of the step before.
        """
        run = self.run
        chosen, done = run.chosen, run.done
        last = done == chosen.steps
        self._due = self._due or bool(self.asked) or last or done % chosen.checkpoint_every == 0
        if self._due and (step.applied or last):
            self._due = False
            run.save(self._report.saved)
        if chosen.validate_every and (last or done % chosen.validate_every == 0):
            self._validated = {"validation_loss": run.validate()}
        self._logged = self._logged or bool(self._validated) or last or done % chosen.log_every == 0
        if self._logged and step.applied:
            skipped = run.non_finite.total
            values = {"learning_rate": step.rate, "gradient_norm": step.norm, **self._validated}
            self._report.step(done, step.loss, values | ({"skipped_steps": skipped} if skipped else {}))
            self._logged, self._validated = False, {}


def train(chosen: Options, ranks: Ranks, folder: Path, stop: StopSignal) -> tuple[int, int]:
    """Train and return the last step done and the signal that asked to stop, or 0."""
    training = Training(chosen, ranks, folder, stop)
    if ranks.first:
        say(_opening(training.run))
    try:
        while not training.over:
            training.advance()
    except TrainingError as error:
        if error.code == errors.DATA:
            # All ranks raise it together, and a checkpoint of an earlier step may be on its way.
            training.finish_save()
        raise
    training.close()
    return training.run.done, training.asked


def _opening(run: Pretraining) -> str:
    chosen, ranks = run.chosen, run.ranks
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    where = (
        f"model={chosen.model} parameters={parameters} ranks={ranks.count} device={ranks.device.type} "
        f"precision={chosen.precision} data={chosen.data} passes={run.passes}"
    )
    return f"resuming after step {run.done} of {chosen.steps}: {where}" if run.done else f"starting: {where}"
