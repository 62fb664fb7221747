"""The time that a rank works in a step while it waits for no other rank: it tells which rank is slow.

In synchronous training each step takes on every rank as long as on the slowest, because all wait for it in collectives.
What differs is the time between collectives. Two parts of it can be measured without a collective of their own: the
wait for the batch, on the host, and the forward pass of modules that hold no collective, on the device. Equal work on
equal devices takes equal time, so a rank that takes longer has a slow accelerator, a slow processor or slow data.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from training import heartbeat

EVERY = 10
"""Steps of which one is measured, the second first: the first one also fills caches. Our choice."""


class RankWork:
    """Measures every tenth step of a rank, and gives the seconds to the heartbeat.

    `modules` hold no collective in their forward pass; a module that `fully_shard` or DDP wraps counts without the
    wait for its parameters. Without modules nothing is measured. A compiled module must not be among them: hooks
    would cut its graph.
    """

    def __init__(self, modules: Iterable[nn.Module], device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._steps = 0
        self._measures = False
        self._seconds = 0.0
        self._since: Any = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._hooked = 0
        for module in modules:
            self._hooked += 1
            # FSDP2's hook before the forward pass, which waits for the parameters, is first; its hook after, last.
            module.register_forward_pre_hook(self._before)
            module.register_forward_hook(self._after, prepend=True)

    def begin(self) -> None:
        """Begin a step, before its batch is taken."""
        self._steps += 1
        self._measures = bool(self._hooked) and self._steps % EVERY == 2
        self._since = time.perf_counter()

    def loaded(self) -> None:
        """Record that the batch is there."""
        self._seconds = time.perf_counter() - self._since
        self._events.clear()

    def end(self) -> None:
        """Report a step whose forward passes the device has done: the host has read a value that follows from them."""
        if not self._measures:
            return
        self._measures = False
        self._seconds += sum(first.elapsed_time(last) for first, last in self._events) / 1000
        heartbeat.worked(self._seconds)

    def _before(self, *_: object) -> None:
        if self._measures:
            self._since = self._now()

    def _after(self, *_: object) -> None:
        if not self._measures:
            return
        now = self._now()
        if self._cuda:
            self._events.append((self._since, now))
        else:
            self._seconds += now - self._since

    def _now(self) -> Any:
        """Return the time on the device: an event of its stream, or the host's clock in seconds."""
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
