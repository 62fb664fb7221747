"""megatron-core on processors, for tests: each change that it takes, applied before it builds anything.

megatron-core knows GPUs alone. On a machine without one the launch file calls `use_processors` before it imports
megatron-core, and `replace_parts` afterwards. Both change this process alone:

1. `torch.cuda.current_device` returns the processor: megatron-core makes gradient buffers and messages there.
2. `torch.cuda.synchronize` does nothing: megatron-core waits for the device before it writes a checkpoint.
3. `torch.compile` returns a function as it is: megatron-core has its fused functions compiled at import, which takes
   longer than the run.
4. The tracker of CUDA's random states (`megatron.core.tensor_parallel.random`) is one without states: it is asked for
   dropout, which runs on processors do not have, and for weights, which megatron-core makes from torch's own state
   (`use_cpu_initialization`).
5. `initialize_rng_tracker` leaves that tracker in its place.
6. `model_parallel_cuda_manual_seed` seeds torch alone.
7. The queue with the results of a checkpoint's writers is in this process
   (`megatron.core.dist_checkpointing.strategies.filesystem_async`): megatron-core's own is in another process, for
   checkpoints that are written while training continues, and that process imports torch for longer than the run takes.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable
from typing import Any

import torch


def use_processors() -> None:
    """Let megatron-core take processors for its device; before it is imported."""
    cuda: Any = torch.cuda
    processor = torch.device("cpu")
    cuda.current_device = lambda: processor
    cuda.synchronize = lambda *_: None
    module: Any = torch
    module.compile = _not_compiled


def _not_compiled(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    return function if function is not None else lambda each: each


class _OneState:
    """A tracker of random states that has none: all ranks draw from torch's own."""

    def is_initialized(self) -> bool:
        return True

    def reset(self) -> None:
        pass

    def add(self, name: str, seed: int) -> None:
        pass

    def get_states(self) -> dict[str, Any]:
        return {}

    def set_states(self, states: dict[str, Any]) -> None:
        pass

    def fork(self, _name: str = "") -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def replace_parts() -> None:
    """Let megatron-core draw from torch's own random state, and keep the results of a checkpoint in this process."""
    from megatron.core.dist_checkpointing.strategies import filesystem_async
    from megatron.core.tensor_parallel import random

    random._CUDA_RNG_STATE_TRACKER = _OneState()
    random._CUDA_RNG_STATE_TRACKER_INITIALIZED = True
    random.initialize_rng_tracker = lambda *_, **__: None
    random.model_parallel_cuda_manual_seed = lambda seed, *_, **__: torch.manual_seed(seed)
    filesystem_async._results_queue = queue.Queue()
