"""The heartbeat of a rank: a file with the rank's step and phase for the node's launch guard.

The guard names the folder in a variable; without it nothing here does anything. A thread writes the file every second,
so that a process that is frozen, or that holds Python's lock in a call, differs from one that waits for other ranks.
On request it dumps the flight recorder of torch's process groups, and SIGUSR2 writes the Python stacks of all threads,
even where the main thread is in a collective. The standard library alone: torch is used where it was imported already.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = "TRAINFORGE_HEARTBEAT_FOLDER"
"""Variable that names the folder of the node's heartbeat files: the launch guard makes it, on the node itself."""

GUARD = "TRAINFORGE_GUARD_PROCESS"
"""Variable with the process id of the launch guard, whose children may read this process's memory (py-spy)."""

BEAT_SECONDS = 1.0
"""Seconds between two writes of the file."""

DUMP = "dump"
"""File in the folder that asks every rank of the node for its flight recorder."""

START, TRAIN = "start", "train"
"""The phases before the first step, and between two steps. Any other phase has the guard's longer allowance too."""

_RECORDERS = {"flight_recorder": "_dump_fr_trace", "nccl_flight_recorder": "_dump_nccl_trace"}
"""Functions of torch._C._distributed_c10d by the name of the file. torch 2.13 records gloo's collectives for the
first where TORCH_FR_BUFFER_SIZE is set; builds for CUDA have the second, for NCCL's."""

_SET_PTRACER = 0x59616D61
"""PR_SET_PTRACER of linux/prctl.h, for kernels whose Yama module lets only ancestors read a process's memory."""


class Heartbeat(threading.Thread):
    """Writes the heartbeat file of one rank until the process ends."""

    def __init__(self, folder: Path, rank: int) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._folder = folder
        self._path = folder / f"rank-{rank}.json"
        self._lock = threading.Lock()
        self._dumped = False
        self._since = time.monotonic()
        self._step_begun: float | None = None
        self.record: dict[str, Any] = {
            "rank": rank,
            "process": os.getpid(),
            "beat": 0,
            "changes": 0,
            "steps": 0,
            "step_seconds": None,
            "work_seconds": None,
            "phase": START,
            "seconds": {},
            "collectives": None,
            "dumped": False,
            "exit_code": None,
        }

    def run(self) -> None:
        """Write the file every second, and dump the flight recorder once when the guard asks."""
        pause = threading.Event()
        while True:
            self.record["beat"] += 1
            self._count()
            self.write()
            if not self._dumped and (self._folder / DUMP).exists():
                self._dumped = True
                self.record["collectives"] = _dump(self._folder, self.record["rank"])
                self.record["dumped"] = True
                self.write()
            pause.wait(BEAT_SECONDS)

    def enter(self, phase: str) -> None:
        """Write another phase at once, and not with the next beat: a rank may freeze a moment later."""
        self._count()
        self.record["phase"] = phase
        self.record["changes"] += 1
        self._step_begun = time.monotonic() if phase == TRAIN else None
        self.write()

    def step(self) -> None:
        """Record that a step is done, and how long it took if nothing but it was done since the one before."""
        self.record["steps"] += 1
        if self.record["phase"] != TRAIN:
            self.enter(TRAIN)
            return
        now = time.monotonic()
        if self._step_begun is not None:
            self.record["step_seconds"] = round(now - self._step_begun, 6)
        self._step_begun = now
        self.record["changes"] += 1

    def _count(self) -> None:
        """Add the time since the last call to the phase's; the thread of the beats calls it too."""
        with self._lock:
            now = time.monotonic()
            phase, seconds = self.record["phase"], self.record["seconds"]
            # Replaced and not changed: it may be written at the same time.
            spent = round(seconds.get(phase, 0.0) + now - self._since, 6)
            self.record["seconds"] = {**seconds, phase: spent}
            self._since = now

    def write(self) -> None:
        """Replace the file. A full disk is not a reason to stop training: the guard then sees no beat."""
        temporary = self._path.with_suffix(".writing")
        with self._lock:
            try:
                temporary.write_text(json.dumps(self.record), encoding="utf-8")
                os.replace(temporary, self._path)
            except OSError:
                return


_heartbeat: Heartbeat | None = None


def begin() -> None:
    """Start the heartbeat of this process, where a launch guard watches; a second call does nothing."""
    global _heartbeat
    folder, rank = os.environ.get(FOLDER), os.environ.get("RANK", "")
    if _heartbeat is not None or not folder or not rank.isdecimal() or not Path(folder).is_dir():
        return
    try:
        stacks = (Path(folder) / f"rank-{rank}.stack.txt").open("w", encoding="utf-8")
    except OSError:
        # A full disk: lines of progress still show that the run continues.
        return
    _heartbeat = Heartbeat(Path(folder), int(rank))
    faulthandler.register(signal.SIGUSR2, file=stacks, all_threads=True)
    _allow_guard()
    _heartbeat.start()


def step() -> None:
    """Record that a step is done."""
    if _heartbeat is not None:
        _heartbeat.step()


def worked(seconds: float) -> None:
    """Record for how long this rank worked in a step while it waited for no other rank (rank_work.py measures it)."""
    if _heartbeat is not None:
        _heartbeat.record["work_seconds"] = round(seconds, 6)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Mark work other than a step, which may take longer: a checkpoint, a validation."""
    if _heartbeat is None:
        yield
        return
    before = _heartbeat.record["phase"]
    _heartbeat.enter(name)
    try:
        yield
    finally:
        _heartbeat.enter(before)


def ended(code: int) -> None:
    """Write the exit code that this rank ends with: torchrun ends with 1 whatever its ranks end with."""
    begin()
    if _heartbeat is not None:
        _heartbeat.record["exit_code"] = code
        _heartbeat.record["changes"] += 1
        _heartbeat.write()


def _allow_guard() -> None:
    """Let the guard and its children read this process's memory, and no other process more than before."""
    guard = os.environ.get(GUARD, "")
    if guard.isdecimal():
        # Kernels without Yama answer EINVAL, and need no permission.
        ctypes.CDLL(None).prctl(_SET_PTRACER, int(guard), 0, 0, 0)


def _dump(folder: Path, rank: int) -> int | None:
    """Write the flight recorders, each a pickle of torch's own form; torchfrtrace of torch 2.13 reads NCCL's alone.

    Returns how many collectives this rank has put into all its groups, None where nothing recorded them.
    """
    bindings = sys.modules.get("torch._C._distributed_c10d")
    enqueued = None
    for name, function in _RECORDERS.items():
        dump = getattr(bindings, function, None)
        if dump is None:
            continue
        content: bytes = dump()
        groups = pickle.loads(content).get("pg_status", {})  # noqa: S301 - torch made it in this very process
        if not groups:
            continue
        (folder / f"{name}_rank_{rank}").write_bytes(content)
        enqueued = (enqueued or 0) + sum(group["last_enqueued_collective"] for group in groups.values())
    return enqueued
