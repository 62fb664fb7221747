"""The contents of a checkpoint: weights, optimizer moments, each rank's random state, each stream's position."""

from __future__ import annotations

from typing import Any

from fsdp_trainer.batches import Position, Source
from fsdp_trainer.options import Options
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.optim import Optimizer
from training import random_state
from training.errors import TrainingError, say
from training.process_group import Ranks

State = dict[str, Any]
About = dict[str, Any]


def about(chosen: Options, ranks: Ranks) -> About:
    """Return what rank 0 tells of the run beside the state: what must agree to go on from it, and where it ran."""
    return {"options": chosen.fixed(), "ranks": ranks.count, "device": ranks.device.type}


def capture(model: nn.Module, optimizer: Optimizer, position: Position, ranks: Ranks) -> State:
    """Return this rank's part of the state; each rank's own things have keys of their own."""
    weights, moments = get_state_dict(model, optimizer)
    return {
        "model": weights,
        "optimizer": moments,
        "random": {_own(ranks.rank): random_state.capture()},
        "data": dict(position),
    }


def template(model: nn.Module, optimizer: Optimizer, source: Source, ranks: Ranks, told: About) -> State:
    """Return the state to read a checkpoint into: what this rank takes from it, whoever wrote it.

    A rank that was not there, or ran on another kind of device, finds no random state.
    """
    state = capture(model, optimizer, dict.fromkeys(source.names(), ""), ranks)
    if ranks.rank >= told["ranks"] or told["device"] != ranks.device.type:
        del state["random"]
    return state


def apply(state: State, model: nn.Module, optimizer: Optimizer, source: Source, ranks: Ranks) -> None:
    """Take a state that was read."""
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    if "random" in state:
        random_state.restore(state["random"][_own(ranks.rank)])
    source.restore(state.get("data", {}))


def agree(chosen: Options, told: About, ranks: Ranks) -> None:
    """Hold a run's options against those of its checkpoint.

    Raises:
        TrainingError: one that makes the run what it is has changed; all that have are named.
    """
    before, now = told["options"], chosen.fixed()
    changed = [name for name, value in now.items() if before.get(name) != value]
    if changed:
        words = ", ".join(f"{name} is '{now[name]}' and was '{before.get(name)}'" for name in changed)
        raise TrainingError(f"this run was begun with other options: {words}; use another run id, or those")
    if ranks.first and told["ranks"] != ranks.count:
        # Sequences and weights stay the same; the order of sums changes, and the ranks' own generators.
        say(f"resuming on {ranks.count} ranks what ran on {told['ranks']}: equal but for rounding")


def _own(rank: int) -> str:
    return f"rank-{rank}"
