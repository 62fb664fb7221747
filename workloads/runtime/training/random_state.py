"""The state of every random generator that a rank may draw from, as a checkpoint holds it."""

from __future__ import annotations

import random
from typing import Any

import torch

from training import objects
from training.process_group import Ranks

State = dict[str, Any]


def seed(number: int, rank: int) -> None:
    """Seed this rank's generators, each rank's differently; equal seeds would repeat dropout's masks."""
    random.seed(number * 1_000_003 + rank)
    torch.manual_seed(number * 1_000_003 + rank)


def capture() -> State:
    """Return the state of this rank's generators: Python's, torch's, and its GPU's where it has one."""
    version, numbers, gauss = random.getstate()
    state: State = {"python": [version, list(numbers), gauss], "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore(state: State) -> None:
    """Set this rank's generators to a captured state."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def gather(ranks: Ranks) -> list[State]:
    """Return the states of all ranks, in order, on rank 0; an empty list elsewhere. All ranks call it."""
    return objects.gather(capture(), ranks)
