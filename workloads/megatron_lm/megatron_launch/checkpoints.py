"""Checkpoints of megatron-core (torch_dist) in Megatron-LM's layout: a folder per iteration, and a file with the last.

A checkpoint counts when `latest_checkpointed_iteration.txt` names it, which is after all ranks have written theirs.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.optimizer import (
    get_param_id_to_sharded_param_map,
    optim_state_to_sharding_state,
)

TRACKER = "latest_checkpointed_iteration.txt"


def _iteration(folder: Path, iteration: int) -> Path:
    return folder / f"iter_{iteration:07d}"


def latest(folder: Path) -> int:
    """Return the iteration of the last whole checkpoint; 0 without one."""
    tracker = folder / TRACKER
    return int(tracker.read_text(encoding="utf-8")) if tracker.exists() else 0


def _state(model: torch.nn.Module, optimizer: torch.optim.Optimizer, iteration: int) -> dict[str, Any]:
    weights: Any = model
    sharded = weights.sharded_state_dict()
    state: dict[str, Any] = optimizer.state_dict()
    parts = get_param_id_to_sharded_param_map(
        sharded, (each for group in optimizer.param_groups for each in group["params"])
    )
    optim_state_to_sharding_state(state, parts, exclude_keys="step")
    return {"model": sharded, "optimizer": state, "iteration": iteration}


def save(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, iteration: int) -> None:
    """Write a checkpoint; all ranks call it."""
    path = _iteration(folder, iteration)
    if dist.get_rank() == 0:
        # A run that was killed while it wrote may have left one here.
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    dist.barrier()
    dist_checkpointing.save(_state(model, optimizer, iteration), str(path))
    dist.barrier()
    if dist.get_rank() == 0:
        unfinished = folder / f".{TRACKER}"
        unfinished.write_text(str(iteration), encoding="utf-8")
        os.replace(unfinished, folder / TRACKER)


def load(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Continue from the last checkpoint, and return its iteration; 0 without one."""
    iteration = latest(folder)
    if not iteration:
        return 0
    # The optimizer has no state before its first step: one without gradients makes it.
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    loaded = dist_checkpointing.load(_state(model, optimizer, iteration), str(_iteration(folder, iteration)))
    model.load_state_dict(loaded["model"])
    # megatron-core leaves each weight's number of steps out: it is the iteration.
    for each in loaded["optimizer"]["state"].values():
        each["step"] = torch.tensor(float(iteration))
    optimizer.load_state_dict(loaded["optimizer"])
    return int(loaded["iteration"])
