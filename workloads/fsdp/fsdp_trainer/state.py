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
    """Return rank 0's description of the run beside the state: values that must agree on resume, and the device."""
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


def template(model: nn.Module, optimizer: Optimizer, source: Source, ranks: Ranks, saved: About) -> State:
    """Return the state to read a checkpoint into: what this rank takes from it, whoever wrote it.

    A rank that was not there, or ran on another kind of device, finds no random state.
    """
    state = capture(model, optimizer, dict.fromkeys(source.names(), ""), ranks)
    if ranks.rank >= saved["ranks"] or saved["device"] != ranks.device.type:
        del state["random"]
    return state


def apply(state: State, model: nn.Module, optimizer: Optimizer, source: Source, ranks: Ranks) -> None:
    """Take a state that was read."""
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    if "random" in state:
        random_state.restore(state["random"][_own(ranks.rank)])
    source.restore(state.get("data", {}))


def agree(chosen: Options, saved: About, ranks: Ranks) -> None:
    """Compare a run's options with those of its checkpoint.

    Raises:
        TrainingError: options that define the run have changed; all of them are named.
    """
    before, now = saved["options"], chosen.fixed()
    changed = [name for name, value in now.items() if before.get(name) != value]
    if changed:
        words = ", ".join(f"{name} is '{now[name]}' and was '{before.get(name)}'" for name in changed)
        raise TrainingError(f"this run was begun with other options: {words}; use another run id, or those")
    if ranks.first and saved["ranks"] != ranks.count:
        # Sequences and weights stay the same; the order of sums changes, and the ranks' own generators.
        say(f"resuming on {ranks.count} ranks what ran on {saved['ranks']}: equal but for rounding")


def _own(rank: int) -> str:
    return f"rank-{rank}"
