"""A recipe in the place of NeMo's, whose parts need GPUs: a small model of our own on processors, by torch and gloo.

It is configured, overridden and run by NeMo-Run as NeMo's recipes are, and its lines have the form of NeMo's
ProgressPrinter. Nothing of NeMo is in it: it shows that the launch works, not that NeMo trains.

NeMo-Run reads values by the types of fields, so annotations are types here and no text (`from __future__`). Gradients
and steps are written out: torch.optim and DistributedDataParallel import torch's compiler, seconds in each process.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nemo_run
import torch
import torch.distributed as dist
from nemo_launch.recipes import NAME, Place

FILE = "last.pt"
"""The checkpoint's file, in `checkpoints` of the run's logs."""


@dataclass
class Model:
    """The sizes of a model that predicts the next token from the last one."""

    vocabulary: int = 61
    hidden_size: int = 32


@dataclass
class Data:
    """The sizes of a batch."""

    seq_length: int = 16
    global_batch_size: int = 8
    micro_batch_size: int = 4


@dataclass
class Checkpoints:
    """The number of steps from one save to the next."""

    every_n_train_steps: int = 5


@dataclass
class Log:
    """The folder of the state, and its saves."""

    log_dir: str
    ckpt: Checkpoints


@dataclass
class Optimizer:
    """The learning rate and the momentum of gradient descent."""

    lr: float = 0.2
    momentum: float = 0.9


@dataclass
class Trainer:
    """The number of steps, and the seconds of a pause after each, in which a test can stop it."""

    max_steps: int = 20
    pause: float = 0.0


def recipe(place: Place) -> Any:
    """Return the recipe as a configuration of NeMo-Run."""
    return nemo_run.Partial(
        pretrain,
        model=nemo_run.Config(Model),
        data=nemo_run.Config(Data),
        trainer=nemo_run.Config(Trainer),
        optim=nemo_run.Config(Optimizer),
        log=nemo_run.Config(Log, log_dir=place.folder, ckpt=nemo_run.Config(Checkpoints)),
    )


def pretrain(model: Model, data: Data, trainer: Trainer, optim: Optimizer, log: Log) -> None:
    """Train, and continue from the run's checkpoint where there is one."""
    dist.init_process_group("gloo")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    # All ranks begin with the same weights.
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Embedding(model.vocabulary, model.hidden_size),
        torch.nn.Linear(model.hidden_size, model.hidden_size),
        torch.nn.ReLU(),
        torch.nn.Linear(model.hidden_size, model.vocabulary),
    )
    velocities = {name: torch.zeros_like(weight) for name, weight in network.named_parameters()}
    file = Path(log.log_dir) / NAME / "checkpoints" / FILE
    first = 0
    if file.exists():
        state = torch.load(file, weights_only=True)
        network.load_state_dict(state["network"])
        velocities = state["velocities"]
        first = state["step"]
    for step in range(first, trainer.max_steps):
        begun = time.perf_counter()
        tokens = _tokens(model, data, step)
        scores = network(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())
        network.zero_grad()
        loss.backward()
        _descend(network, velocities, optim)
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        if dist.get_rank() == 0:
            done = step + 1
            seconds = time.perf_counter() - begun
            sys.stdout.write(
                f"Training epoch 0, iteration {step}/{trainer.max_steps - 1} | lr: {optim.lr:.4} | "
                f"global_batch_size: {data.global_batch_size} | global_step: {step} | "
                f"reduced_train_loss: {mean.item() / dist.get_world_size():.6} | "
                f"train_step_timing in s: {seconds:.4} | consumed_samples: {done * data.global_batch_size}\n"
            )
            sys.stdout.flush()
            if done % log.ckpt.every_n_train_steps == 0:
                _save(file, {"network": network.state_dict(), "velocities": velocities, "step": done})
        time.sleep(trainer.pause)
    dist.barrier()
    dist.destroy_process_group()


def _descend(network: torch.nn.Module, velocities: dict[str, torch.Tensor], optim: Optimizer) -> None:
    """Take a step along the mean of all ranks' gradients."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            dist.all_reduce(weight.grad)
            velocities[name].mul_(optim.momentum).add_(weight.grad, alpha=1 / dist.get_world_size())
            weight.sub_(velocities[name], alpha=optim.lr)


def _tokens(model: Model, data: Data, step: int) -> torch.Tensor:
    """Return a rank's part of a step's batch, which is the same for any number of ranks.

    The first token of a sequence is random, and each other follows from the one before it.
    """
    generator = torch.Generator().manual_seed(step)
    tokens = [torch.randint(model.vocabulary, (data.global_batch_size,), generator=generator)]
    for _ in range(data.seq_length):
        tokens.append((tokens[-1] * 3 + 1) % model.vocabulary)
    return torch.stack(tokens, dim=1).chunk(dist.get_world_size())[dist.get_rank()]


def _save(file: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint that is whole or not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    torch.save(state, unfinished)
    unfinished.replace(file)
