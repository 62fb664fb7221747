"""torchtitan on processors, for tests: each change that it takes, applied before torchtitan is imported.

torchtitan knows accelerators alone. On a machine without a GPU the launch file calls `use_processors`, which changes
torch in this process alone, and `sum_gradients` after the trainer is built:

1. `torch._utils._get_available_device_type` returns "cpu", and `_get_device_module` torch.cpu, by which torchtitan
   chooses its device.
2. torch.cpu gets the functions that torchtitan asks its device for: `get_device_name`, `get_device_properties`,
   `memory_stats`, `reset_peak_memory_stats`, `empty_cache`. What they return of memory means nothing. Its
   `current_device` returns a number.
3. FSDP sums gradients and divides afterwards: gloo cannot divide while it sums.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule


def use_processors() -> None:
    """Let torchtitan take processors for its device."""
    functions: dict[str, Any] = {
        "get_device_name": lambda *_: "processor",
        "get_device_properties": lambda *_: SimpleNamespace(total_memory=1),
        "memory_stats": lambda *_: {},
        "reset_peak_memory_stats": lambda *_: None,
        "empty_cache": lambda *_: None,
        # torch says "cpu", and torchtitan gives it to a barrier that takes numbers.
        "current_device": lambda: 0,
    }
    for name, function in functions.items():
        setattr(torch.cpu, name, function)
    device: Any = importlib.import_module("torch._utils")
    device._get_available_device_type = lambda: "cpu"
    device._get_device_module = lambda _: torch.cpu


def sum_gradients(trainer: Any) -> None:
    """Let FSDP sum gradients over gloo."""
    for part in trainer.model_parts:
        for module in part.modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(True)
