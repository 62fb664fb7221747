"""A run on this rank: the model, what it trains on, and one step of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from fsdp_trainer import optimisation, sharding, state
from fsdp_trainer.batches import Batch, Source
from fsdp_trainer.loading import Loader, source
from fsdp_trainer.options import Options
from training import errors, heartbeat, non_finite, random_state, start
from training.distributed_checkpoint import DistributedCheckpoints
from training.errors import TrainingError
from training.process_group import Ranks
from training.rank_work import RankWork


@dataclass(frozen=True, slots=True)
class Step:
    """One step over all ranks: its mean loss, the norm of its gradients before clipping, and its learning rate.

    `applied` is False where loss or norm is not finite: then no weight has changed.
    """

    loss: float
    norm: float
    rate: float
    applied: bool


class Pretraining:
    """The model, its optimizer, its data and its checkpoints; all ranks call every method."""

    def __init__(self, chosen: Options, ranks: Ranks, folder: Path) -> None:
        """Build the model and load the newest checkpoint; `done` is how many steps it has done.

        Raises:
            TrainingError: the options do not fit the ranks, the data or the checkpoint, or no checkpoint is sound.
        """
        passes, rest = divmod(chosen.global_batch, ranks.count * chosen.micro_batch)
        if rest:
            raise TrainingError(
                f"--global-batch {chosen.global_batch} does not divide by {ranks.count} ranks of --micro-batch "
                f"{chosen.micro_batch}"
            )
        self.chosen = chosen
        self.ranks = ranks
        self.passes = passes
        self.model = sharding.build(chosen, ranks)
        self.work = RankWork(() if chosen.compile else sharding.blocks(self.model), ranks.device)
        self.optimizer = optimisation.optimizer(self.model, chosen)
        self.checkpoints = DistributedCheckpoints(folder / start.CHECKPOINTS, ranks, chosen.keep)
        self.non_finite = non_finite.NonFiniteSteps(chosen.max_skipped_steps, prints=ranks.first)
        random_state.seed(chosen.seed, ranks.rank)
        data = source(chosen, ranks)
        self._validation = self._held_out() if chosen.validate_every else []
        self.done = self._resume(data)
        self.loader = Loader(data)

    def step(self) -> Step:
        """Train one step, and return what it was.

        The loss of a step is the mean over all its tokens on all ranks. How many those are is known when all passes
        are done: until then sums are divided by what a full batch has, and the gradients are set right at the end.
        A step whose loss or gradients are not finite leaves weights and moments as they are; its data are used up.

        Raises:
            TrainingError: too many steps in a row were not finite.
        """
        number = self.done + 1
        self.work.begin()
        batch = self.loader.take(number)
        self.work.loaded()
        full = self.chosen.global_batch * self.chosen.sequence_length
        experts = self.chosen.configuration.experts
        sums = self._sums()
        for index, part in enumerate(batch.passes(self.chosen.micro_batch, self.ranks.device)):
            last = index == self.passes - 1
            # Shards are summed with every pass, which keeps gradients sharded; replicas only with the last.
            self.model.set_is_last_backward(last)  # type: ignore[operator]
            self.model.set_requires_all_reduce(last)  # type: ignore[operator]
            with sharding.activations(self.chosen, self.ranks):
                loss, balance = self.model(part.tokens, part.targets, part.documents)
            total = loss / full
            if experts:
                total = total + balance * (experts.balance / self.chosen.global_batch)
            torch.autograd.backward(total)
            sums += self._counted(loss, part)
        # Loss, tokens and norm in one exchange; copies of the model have the same gradients each.
        squares = optimisation.squares(self.model).to(sums.device) / self.chosen.replicas
        exchanged = torch.cat([sums, squares[None]])
        dist.all_reduce(exchanged)
        sums, squares = exchanged[:2], exchanged[2]
        rate = optimisation.set_rate(self.chosen, number, self.optimizer)
        scaled = optimisation.scale_and_clip(self.model, squares, full / sums[1], self.chosen.clip)
        # Read on the host: the next batch's copy to the device waits for this step anyway.
        mean, norm = _mean(sums), float(scaled)
        self.work.end()
        applied = self.non_finite.admit(number, mean, norm)
        # The save before copies weights while the passes compute; from here on they change.
        self.checkpoints.staged()
        if applied:
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.done = number
        return Step(mean, norm, rate, applied)

    @heartbeat.phase("validation")
    @torch.no_grad()
    def validate(self) -> float:
        """Return the mean loss over the validation's batches, the same ones each time; `validate_every` is not 0.

        Raises:
            TrainingError: it is not finite.
        """
        sums = self._sums()
        for batch in self._validation:
            for part in batch.passes(self.chosen.micro_batch, self.ranks.device):
                loss, _ = self.model(part.tokens, part.targets, part.documents)
                sums += self._counted(loss, part)
        dist.all_reduce(sums)
        mean = _mean(sums)
        if not math.isfinite(mean):
            message = f"the loss of the validation after step {self.done} is {mean}"
            raise TrainingError(message if self.ranks.first else "", errors.DATA)
        return mean

    @heartbeat.phase("checkpoint")
    def save(self, tell: Callable[[int], None]) -> None:
        """Begin to write a checkpoint; `tell` is given each step whose checkpoint has ended.

        Raises:
            TrainingError: a weight is not finite; the one before could not be written, or this one, where it is
                waited for.
        """
        squares = optimisation.weight_squares(self.model).to(self.ranks.device)
        dist.all_reduce(squares)
        non_finite.check_weights(float(squares), self.done, prints=self.ranks.first)
        taken = state.capture(self.model, self.optimizer, self.loader.position, self.ranks)
        before = self.checkpoints.save(self.done, taken, state.about(self.chosen, self.ranks))
        if before is not None:
            tell(before)
        if self.chosen.synchronous_save:
            self.finish_save(tell)

    @heartbeat.phase("checkpoint")
    def finish_save(self, tell: Callable[[int], None]) -> None:
        """Wait for the checkpoint under way.

        Raises:
            TrainingError: it could not be written.
        """
        written = self.checkpoints.wait()
        if written is not None:
            tell(written)

    def close(self) -> None:
        """Give back threads."""
        self.loader.close()
        self.checkpoints.close()

    def _held_out(self) -> list[Batch]:
        """Return this rank's part of the validation, read at the start: what cannot be had must not end a run late."""
        held_out = source(self.chosen, self.ranks, validation=True)
        return [held_out.take(step + 1) for step in range(self.chosen.validation_batches)]

    @heartbeat.phase("resume")
    def _resume(self, data: Source) -> int:
        def template(saved: state.About) -> state.State:
            state.agree(self.chosen, saved, self.ranks)
            return state.template(self.model, self.optimizer, data, self.ranks, saved)

        found = self.checkpoints.load(template)
        if found is None:
            return 0
        step, read, _ = found
        state.apply(read, self.model, self.optimizer, data, self.ranks)
        return step

    def _counted(self, loss: torch.Tensor, part: Batch) -> torch.Tensor:
        """Return a pass's summed loss and its number of tokens."""
        return torch.stack([loss.detach().double(), (part.targets >= 0).sum().double()])

    def _sums(self) -> torch.Tensor:
        """Return zeros for the summed loss and the number of tokens: float64, so that counts are exact."""
        return torch.zeros(2, dtype=torch.float64, device=self.ranks.device)


def _mean(sums: torch.Tensor) -> float:
    """Return the mean loss of a summed loss and its number of tokens."""
    total, tokens = sums.tolist()
    mean: float = total / tokens
    return mean
