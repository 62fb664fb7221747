"""A run on this rank: ESM-2, the sequences that it trains on, and one step of it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from esm2_trainer.options import Options
from esm2_trainer.sequences import IGNORED, FromFile, Sequences, Synthetic
from esm2_trainer.sizes import MASK, PAD, SIZES, VOCABULARY
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from training import heartbeat, non_finite, objects, random_state, start
from training.checkpoint import Checkpoints
from training.errors import TrainingError, say
from training.process_group import Ranks
from training.rank_work import RankWork
from transformers import EsmConfig, EsmForMaskedLM

CLIP = 1.0
"""The largest norm of all gradients together: our choice."""

_DECAY_UNTIL, _LAST_RATE = 0.9, 0.1


@dataclass(frozen=True, slots=True)
class Step:
    """One step over all ranks: its mean loss, the norm of its gradients before clipping, and its learning rate."""

    loss: float
    norm: float
    rate: float
    applied: bool


def configuration(settings: Options) -> EsmConfig:
    """Return ESM-2's configuration, as that of the published models: rotary positions, token dropout, no dropout."""
    size = SIZES[settings.model]
    return EsmConfig(
        vocab_size=len(VOCABULARY),
        mask_token_id=MASK,
        pad_token_id=PAD,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.inner,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-5,
        max_position_embeddings=max(1026, settings.sequence_length + 2),
        position_embedding_type="rotary",
        emb_layer_norm_before=False,
        token_dropout=True,
    )


def rate(settings: Options, step: int) -> float:
    """Return the learning rate of a step (from 1): up in a line, then down to a tenth at nine tenths of all steps.

    The highest rate and the warm-up are those of BioNeMo's ESM-2 (`train_esm2.py`), the way down is our choice.
    """
    warm, end = settings.warmup_steps, settings.steps * _DECAY_UNTIL
    if step <= warm:
        return settings.learning_rate * step / warm
    gone = min(1.0, (step - warm) / max(1.0, end - warm))
    return settings.learning_rate * (1 - (1 - _LAST_RATE) * gone)


def _model(settings: Options, ranks: Ranks) -> DistributedDataParallel:
    torch.manual_seed(settings.seed)
    model = EsmForMaskedLM(configuration(settings))
    # It predicts contacts, and takes no part in the training.
    model.esm.contact_head.requires_grad_(requires_grad=False)
    model = model.to(ranks.device)
    if settings.compile:
        model.compile()
    return DistributedDataParallel(model, device_ids=[ranks.local] if ranks.device.type == "cuda" else None)


def _optimizer(model: nn.Module, settings: Options) -> torch.optim.AdamW:
    """Return AdamW, with betas and decay of BioNeMo's ESM-2; biases and norms do not decay."""
    parameters = [each for each in model.parameters() if each.requires_grad]
    groups = [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))


class Pretraining:
    """The model, its optimizer, its data and its checkpoints; all ranks call every method."""

    def __init__(self, settings: Options, ranks: Ranks, folder: Path, proteins: str) -> None:
        """Build the model and load the newest checkpoint; `done` is how many steps it has done.

        Raises:
            TrainingError: the options do not fit the ranks, the data or the checkpoint, or no checkpoint is sound.
        """
        self.passes, rest = divmod(settings.global_batch, ranks.count * settings.micro_batch)
        if rest:
            raise TrainingError(
                f"--global-batch {settings.global_batch} does not divide by {ranks.count} ranks of --micro-batch "
                f"{settings.micro_batch}"
            )
        self.settings = settings
        self.ranks = ranks
        self.model = _model(settings, ranks)
        self.work = RankWork([] if settings.compile else [self.model.module], ranks.device)
        self.optimizer = _optimizer(self.model, settings)
        self.checkpoints = Checkpoints(folder / start.CHECKPOINTS, settings.keep)
        self.non_finite = non_finite.NonFiniteSteps(settings.max_skipped_steps, prints=ranks.first)
        source = Synthetic() if settings.data == "synthetic" else FromFile(Path(proteins), settings.seed)
        self.sequences = Sequences(
            source, length=settings.sequence_length, share=settings.mask_share, seed=settings.seed
        )
        random_state.seed(settings.seed, ranks.rank)
        # After its first backward pass the reducer lays its buckets anew, which may change the order of sums: let that
        # be over before the first step of every start, or a resumed run could differ from an uninterrupted one.
        self._pass(*self.sequences.take(range(1)), 1)
        self.optimizer.zero_grad()
        self.done = self._resume()

    def _pass(self, tokens: torch.Tensor, labels: torch.Tensor, count: float) -> torch.Tensor:
        """Compute the gradients of the summed loss of sequences, divided by `count`; return the sum."""
        device = self.ranks.device
        tokens, labels = tokens.to(device), labels.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            logits = self.model(input_ids=tokens, attention_mask=(tokens != PAD).long()).logits
        flat = logits.float().view(-1, logits.shape[-1])
        loss = nn.functional.cross_entropy(flat, labels.view(-1), ignore_index=IGNORED, reduction="sum")
        torch.autograd.backward(loss / count)
        return loss.detach()

    def step(self) -> Step:
        """Train one step, and return what it was; its loss is the mean over all predicted residues of all ranks.

        Raises:
            TrainingError: too many steps in a row were not finite.
        """
        number = self.done + 1
        settings, ranks = self.settings, self.ranks
        share = settings.global_batch // ranks.count
        first = (number - 1) * settings.global_batch + ranks.rank * share
        parts = [
            range(at, at + settings.micro_batch) for at in range(first, first + share, settings.micro_batch)
        ]
        # How many residues are predicted is known before the passes, for DDP takes the mean over ranks.
        self.work.begin()
        taken = [self.sequences.take(part) for part in parts]
        self.work.loaded()
        count = torch.tensor(sum(int((labels != IGNORED).sum()) for _, labels in taken), device=ranks.device)
        dist.all_reduce(count)
        total = torch.zeros((), device=ranks.device, dtype=torch.float64)
        for index, (tokens, labels) in enumerate(taken):
            last = index == self.passes - 1
            with nullcontext() if last else self.model.no_sync():
                total += self._pass(tokens, labels, int(count) / ranks.count)
        dist.all_reduce(total)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), CLIP))
        mean = float(total) / int(count)
        self.work.end()
        applied = self.non_finite.admit(number, mean, norm)
        now = rate(settings, number)
        for group in self.optimizer.param_groups:
            group["lr"] = now
        if applied:
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.done = number
        return Step(mean, norm, now, applied)

    @heartbeat.phase("resume")
    def _resume(self) -> int:
        """Load the newest checkpoint and return the steps done."""
        newest = self.checkpoints.load_everywhere(self.ranks)
        if newest is None:
            return 0
        step, state = newest
        before, now = state["options"], self.settings.fixed
        changed = [name for name in now if before.get(name) != now[name]]
        if changed:
            changes = ", ".join(f"{name} is '{now[name]}' and was '{before.get(name)}'" for name in changed)
            raise TrainingError(
                f"step {step} of this run was made with other options: {changes}; use another run id"
            )
        self.model.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if len(state["random"]) == self.ranks.count:
            random_state.restore(state["random"][self.ranks.rank])
        elif self.ranks.first:
            say(
                f"resuming on {self.ranks.count} ranks what ran on {len(state['random'])}: equal but for rounding"
            )
        return int(step)

    @heartbeat.phase("checkpoint")
    def save(self) -> None:
        """Write a checkpoint; rank 0 writes, and the others learn whether it could.

        Raises:
            TrainingError: a weight is not finite, or it cannot be written.
        """
        with torch.no_grad():
            norms = torch._foreach_norm(list(self.model.parameters()))
        squares = float(torch.stack(list(norms)).double().square().sum())
        non_finite.check_weights(squares, self.done, prints=self.ranks.first)
        states = random_state.gather(self.ranks)
        answer: dict[str, Any] = {}
        if self.ranks.first:
            state = {
                "model": self.model.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "random": states,
                "options": self.settings.fixed,
            }
            try:
                self.checkpoints.save(self.done, state)
            except TrainingError as error:
                answer = {"error": str(error), "code": error.code}
        answer = objects.broadcast(answer, self.ranks)
        if answer:
            raise TrainingError(answer["error"] if self.ranks.first else "", answer["code"])
        if self.ranks.first:
            say(f"checkpoint step={self.done}")
