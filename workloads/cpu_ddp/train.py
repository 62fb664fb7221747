"""Data-parallel training of a small perceptron on 28 by 28 images: synthetic ones, or MNIST where it is there.

Every sample is a function of the seed and its index alone, and a step takes the same indices whatever the
number of ranks; so a resumed run sees what an uninterrupted one would have seen. RUN_FOLDER is where
checkpoints and metrics go, and where the run continues from; DATA_FOLDER may hold MNIST's idx files.
"""

from __future__ import annotations

import gc
import math
import os
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    # Loading torch makes objects that live as long as the process: looking for garbage among them takes a fifth of a
    # rank's start. `errors.run` turns the collector on again.
    gc.disable()

import torch
import torch.distributed as dist
from cpu_ddp_options import Options, options
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from training import errors, heartbeat, idx, metrics, non_finite, objects, random_state, start
from training.checkpoint import Checkpoints
from training.digits import CLASSES, PIXELS, Mnist, Samples, Synthetic
from training.errors import TrainingError, say
from training.process_group import Ranks
from training.profiling import Capture
from training.rank_work import RankWork
from training.signals import StopSignal
from training.tracking import Tracking


def _samples(chosen: Options, ranks: Ranks) -> Samples:
    """Return the samples that all ranks take: rank 0 looks, for a folder may not be seen everywhere at once."""
    folder = os.environ.get("DATA_FOLDER", "")
    kind = chosen.data
    if kind == "auto":
        kind = objects.broadcast("mnist" if folder and idx.there(Path(folder)) else "synthetic", ranks)
    if kind == "synthetic":
        return Synthetic(chosen.seed)
    if not folder:
        raise TrainingError("--data mnist needs the variable DATA_FOLDER, which is not set")
    return Mnist(Path(folder), chosen.seed)


def _model(chosen: Options, ranks: Ranks) -> DistributedDataParallel:
    torch.manual_seed(chosen.seed)
    hidden = chosen.hidden
    layers = [nn.Linear(PIXELS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(hidden, CLASSES)).to(ranks.device)
    model = DistributedDataParallel(
        network, device_ids=[ranks.local] if ranks.device.type == "cuda" else None
    )
    # After its first backward pass the reducer lays its buckets anew, which may change the order of sums: let that be
    # over before the first step of every start, or a resumed run could differ from an uninterrupted one.
    torch.autograd.backward(model(torch.zeros(1, PIXELS, device=ranks.device)).sum())
    model.zero_grad()
    return model


class Run:
    """A run on this rank: what is trained, on what, and what a checkpoint of it holds."""

    def __init__(self, chosen: Options, ranks: Ranks, folder: Path) -> None:
        self.ranks = ranks
        self.chosen = chosen
        self.samples = _samples(chosen, ranks)
        self.model = _model(chosen, ranks)
        self.work = RankWork([self.model.module], ranks.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=chosen.learning_rate)
        self.checkpoints = Checkpoints(folder / start.CHECKPOINTS, chosen.keep)
        self.configuration = chosen.fixed(self.samples.kind)
        self.non_finite = non_finite.NonFiniteSteps(chosen.max_skipped_steps, prints=ranks.first)
        random_state.seed(chosen.seed, ranks.rank)

    @heartbeat.phase("resume")
    def resume(self) -> int:
        """Load the newest checkpoint and return the steps done.

        Raises:
            TrainingError: the checkpoint was made with other options, or none is sound.
        """
        found = self.checkpoints.load_everywhere(self.ranks)
        if found is None:
            return 0
        step, state = found
        before = state["configuration"]
        changed = [key for key, value in self.configuration.items() if before.get(key) != value]
        if changed:
            changes = ", ".join(
                f"{key} is '{self.configuration[key]}' and was '{before.get(key)}'" for key in changed
            )
            raise TrainingError(
                f"step {step} of this run was made with other options: {changes}; use another run id"
            )
        self.model.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if len(state["random"]) == self.ranks.count:
            random_state.restore(state["random"][self.ranks.rank])
        elif self.ranks.first:
            # The samples stay the same; what changes is the order of sums and the ranks' own generators.
            say(
                f"resuming on {self.ranks.count} ranks what ran on {len(state['random'])}: equal but for rounding"
            )
        return step

    def step(self, number: int) -> tuple[float, bool]:
        """Train on the samples of step `number` (from 1); return the mean loss of all ranks, and whether it applied.

        A step whose loss or gradients are not finite leaves weights and moments as they are.

        Raises:
            TrainingError: too many steps in a row were not finite.
        """
        size = self.chosen.global_batch // self.ranks.count
        first = (number - 1) * self.chosen.global_batch + self.ranks.rank * size
        self.work.begin()
        images, labels = self.samples.take(range(first, first + size))
        self.work.loaded()
        device = self.ranks.device
        loss = nn.functional.cross_entropy(self.model(images.to(device)), labels.to(device))
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        # One exchange for both: ranks decide by the very same numbers. DDP's gradients are equal on all ranks already.
        squares = _squares([each.grad for each in self.model.parameters() if each.grad is not None])
        exchanged = torch.stack([loss.detach().double(), squares])
        dist.all_reduce(exchanged)
        total, summed = exchanged.tolist()
        self.work.end()
        mean: float = total / self.ranks.count
        applied = self.non_finite.admit(number, mean, math.sqrt(summed / self.ranks.count))
        if applied:
            self.optimizer.step()
        return mean, applied

    @heartbeat.phase("checkpoint")
    def save(self, step: int) -> None:
        """Write a checkpoint; all ranks call it, rank 0 writes.

        Raises:
            TrainingError: a weight is not finite, or it cannot be written.
        """
        squares = _squares(list(self.model.parameters()))
        dist.all_reduce(squares)
        non_finite.check_weights(float(squares), step, prints=self.ranks.first)
        states = random_state.gather(self.ranks)
        if not self.ranks.first:
            return
        state = {
            "model": self.model.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": step,
            "samples": step * self.chosen.global_batch,
            "random": states,
            "configuration": self.configuration,
        }
        path = self.checkpoints.save(step, state)
        say(f"checkpoint step={step} file={path.name}")


@torch.no_grad()
def _squares(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Return the summed squares of tensors, a float64 scalar."""
    return torch.stack(list(torch._foreach_norm(tensors))).double().square().sum()


class Report:
    """Reports of this rank: metrics, and MLflow on rank 0 if it was asked for; most ranks report nothing."""

    def __init__(self, run: Run, folder: Path, resumed: int) -> None:
        self._batch = run.chosen.global_batch
        name = folder.name
        tracking = run.ranks.first and run.chosen.mlflow
        parameters = {**asdict(run.chosen), "ranks": run.ranks.count}
        self._tracking = Tracking(run.chosen.mlflow, folder, name, parameters) if tracking else None
        self.metrics = metrics.of(run.ranks, folder, {"run": name}, resumed)

    def step(self, number: int, loss: float) -> None:
        """Report a step."""
        if self.metrics:
            self.metrics.report(number, loss, self._batch)
        if self._tracking:
            self._tracking.report(number, {"loss": loss})

    def close(self, *, finished: bool) -> None:
        """Report the end of the run."""
        if self.metrics:
            self.metrics.close()
        if self._tracking:
            self._tracking.close(finished=finished)


def train(chosen: Options, ranks: Ranks, folder: Path, stop: StopSignal) -> tuple[int, int]:
    """Train and return the last step done and the signal that asked to stop, or 0."""
    if chosen.global_batch % ranks.count:
        raise TrainingError(f"--global-batch {chosen.global_batch} does not divide by {ranks.count} ranks")
    run = Run(chosen, ranks, folder)
    done = run.resume()
    report = Report(run, folder, done)
    capture = Capture(ranks, chosen.steps)
    if ranks.first:
        where = f"ranks={ranks.count} device={ranks.device.type} data={run.samples.kind}"
        say(f"resuming after step {done} of {chosen.steps}: {where}" if done else f"starting: {where}")
    asked, due, logged = 0, False, False
    # After a skipped step nothing is saved or reported: both wait for the next step that is applied.
    while done < chosen.steps and not (asked and not due):
        stop.begin(ranks)
        begun = time.monotonic()
        done += 1
        capture.before(done)
        loss, applied = run.step(done)
        capture.after(done)
        time.sleep(max(0.0, begun + chosen.step_seconds - time.monotonic()))
        asked = stop.agreed()
        last = done == chosen.steps
        due = due or bool(asked) or last or done % chosen.checkpoint_every == 0
        logged = logged or last or done % chosen.log_every == 0
        if logged and applied:
            logged = False
            report.step(done, loss)
        if due and (applied or last):
            due = False
            run.save(done)
            if report.metrics:
                report.metrics.saved(done)
    capture.close()
    report.close(finished=not asked)
    return done, asked


def main() -> None:
    """Train as the command line and the environment say."""
    chosen = options()
    start.carry_out(partial(train, chosen), chosen.device, chosen.threads)


if __name__ == "__main__":
    errors.run(main)
