"""The ranks of a run: joined from the environment that torchrun sets, and left in an order that does not abort."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from training import heartbeat
from training.errors import TrainingError

TIMEOUT_SECONDS = 1800
"""Seconds that a collective may wait for a rank: longer than a checkpoint on a slow file system takes."""

TIMEOUT = "TRAINFORGE_COLLECTIVE_SECONDS"
"""Variable with another time-out of collectives in seconds. The launch guard sets one that is longer than the silence
that it allows: so it is the guard that ends a run without progress, and names the silent rank."""

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among its run's: `rank` of `count`, `local` on its node, computing on `device`.

    `saving` is a second group, always gloo: checkpoints and signals are agreed in it while the first one
    computes. Without a group of its own an asynchronous save of a distributed checkpoint was seen to hang.
    """

    rank: int
    count: int
    local: int
    device: torch.device
    saving: dist.ProcessGroup

    @property
    def first(self) -> bool:
        """True if this is rank 0, which prints and writes."""
        return self.rank == 0


@contextmanager
def joined(
    device: str = "auto", *, threads: int | None = None, timeout_seconds: int | None = None
) -> Iterator[Ranks]:
    """Join the run's process group and leave it: nccl on GPUs, gloo on processors.

    A group that a framework has made before (Ray Train does) is taken as it is.
    `device` is auto (GPUs where torch sees some), cpu or cuda; `threads` pins the threads of one operation,
    which fixes the order of its sums; `timeout_seconds` is by default TIMEOUT's or TIMEOUT_SECONDS.
    Keep the model and the optimizer in a function called inside, so that they are gone when the group is left.
    After an error the group is not left: the other ranks may wait in a collective, and it is the launcher that
    ends them.

    Raises:
        TrainingError: a variable is missing or no number, or there is no GPU for this rank.
    """
    places = _environment()
    timeout = timedelta(seconds=collective_seconds() if timeout_seconds is None else timeout_seconds)
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = _device(device, places["LOCAL_RANK"])
    # gloo beside nccl: parameters kept in the host's memory are summed there.
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    if not dist.is_initialized():
        dist.init_process_group(backend, timeout=timeout)
    saving = dist.new_group(backend="gloo", timeout=timeout)
    assert saving is not None
    yield Ranks(places["RANK"], places["WORLD_SIZE"], places["LOCAL_RANK"], chosen, saving)
    _leave(saving)


@heartbeat.phase("leave")
def _leave(saving: dist.ProcessGroup) -> None:
    """Leave the group together.

    Destroying a gloo group right after training aborts now and then: one rank closes connections that
    another's reducer still uses. So: all arrive, the reducers are collected, all arrive again.
    """
    dist.barrier(group=saving)
    gc.collect()
    dist.barrier(group=saving)
    dist.destroy_process_group()


def _environment() -> dict[str, int]:
    missing = [name for name in _VARIABLES if not os.environ.get(name)]
    if missing:
        raise TrainingError(
            f"variables {', '.join(missing)} are not set; start this program with torchrun, for example "
            "'torchrun --nproc-per-node=2 train.py', or launch the workload with 'trainforge launch'"
        )
    numbers = {}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        value = os.environ[name]
        if not value.isdecimal():
            raise TrainingError(f"variable {name} is '{value}'; it must be a number (torchrun sets it)")
        numbers[name] = int(value)
    return numbers


def collective_seconds() -> int:
    """Return how long a collective may wait for a rank: TIMEOUT's value, or TIMEOUT_SECONDS.

    Raises:
        TrainingError: the variable is no number of seconds.
    """
    value = os.environ.get(TIMEOUT) or str(TIMEOUT_SECONDS)
    if not value.isdecimal() or int(value) == 0:
        raise TrainingError(f"variable {TIMEOUT} is '{value}'; it must be a number of seconds from 1")
    return int(value)


def _device(kind: str, local: int) -> torch.device:
    if kind == "cpu" or (kind == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if local >= count:
        raise TrainingError(
            f"local rank {local} has no GPU: torch sees {count} here; start one rank a GPU, or ask for "
            "'--device cpu'"
        )
    device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    return device
