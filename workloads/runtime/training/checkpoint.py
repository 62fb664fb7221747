"""Checkpoints of small models: one file, written by one rank, whole or not there, read by its digest.

A file is named `step-<step>-<digest>.pt`: the digest is the first half of the SHA-256 of its content, so that a
truncated or altered file is known without a second file that could be lost. `torch.load` reads it as it is.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from pathlib import Path
from typing import Any

import torch

from training import objects
from training.checkpoint_folder import sync
from training.errors import NO_INPUT, WRITE, TrainingError, say
from training.process_group import Ranks

State = dict[str, Any]
_NAME = re.compile(r"step-(\d{9})-([0-9a-f]{32})\.pt")
_TEMPORARY = ".writing.pt"
_DAMAGED = ".damaged"


class Checkpoints:
    """The checkpoints of one run below `folder`, of which the newest `keep` stay.

    Only rank 0 touches the folder: a folder shared over a network shows one writer's files to itself in order.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        if keep < 1:
            raise TrainingError(f"--keep is {keep}; at least 1 checkpoint must be kept")
        self.folder = folder
        self.keep = keep

    def save(self, step: int, state: State) -> Path:
        """Write the state after `step` steps and return the file; called by one rank.

        The name appears only when the content is on the disk, and the folder's entry is made durable too.

        Raises:
            TrainingError: the file system is full or not writable; the checkpoints before are untouched.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        try:
            target = self._write(step, buffer.getbuffer())
            self._prune(target)
        except OSError as error:
            raise TrainingError(
                f"checkpoint of step {step} cannot be written to '{self.folder}': {error}; make room or choose "
                "another run folder, then start again",
                WRITE,
            ) from error
        return target

    def _write(self, step: int, content: memoryview) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"step-{step:09d}-{_digest(content)}.pt"
        temporary = self.folder / _TEMPORARY
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        sync(self.folder)
        return target

    def load(self) -> tuple[int, State] | None:
        """Return the newest sound checkpoint as (step, state), on the CPU, or None where there is none.

        A damaged one is named, set aside under another name, and the one before is taken.

        Raises:
            TrainingError: there are checkpoints, and all of them are damaged. Beginning again from nothing
                would hide that.
        """
        damaged: list[Path] = []
        for path in self.files():
            content = path.read_bytes()
            if not _sound(path, content):
                damaged.append(path)
                continue
            for bad in damaged:
                bad.rename(bad.with_name(bad.name + _DAMAGED))
                say(f"checkpoint '{bad.name}' is damaged; falling back to '{path.name}'", error=True)
            state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            return _step(path), state
        if damaged:
            raise TrainingError(
                f"all {len(damaged)} checkpoints in '{self.folder}' are damaged (the digest in the name differs "
                "from that of the content); move them away to begin from step 0, or use another run id",
                NO_INPUT,
            )
        return None

    def load_everywhere(self, ranks: Ranks) -> tuple[int, State] | None:
        """Return what rank 0 loads, on every rank; all ranks call it.

        Raises:
            TrainingError: as `load`, on every rank.
        """
        answer: dict[str, Any] = {}
        if ranks.first:
            try:
                found = self.load()
                answer = {"step": found[0], "state": found[1]} if found else {}
            except TrainingError as error:
                answer = {"error": str(error), "code": error.code}
        answer = objects.broadcast(answer, ranks)
        if "error" in answer:
            raise TrainingError(answer["error"], answer["code"])
        return (answer["step"], answer["state"]) if answer else None

    def files(self) -> list[Path]:
        """Return the checkpoint files, the newest step first; of one step the last written first."""
        if not self.folder.is_dir():
            return []
        known = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(known, key=lambda path: (_step(path), path.stat().st_mtime_ns), reverse=True)

    def _prune(self, written: Path) -> None:
        """Remove all but the newest, and what a step before its present state left behind.

        A run that fell back writes steps again: a checkpoint of a later step than the one just written belongs
        to a past that did not happen.
        """
        past = [path for path in self.files() if path != written and _step(path) < _step(written)]
        stay = {written, *past[: self.keep - 1]}
        for path in self.files():
            if path not in stay:
                path.unlink()


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _sound(path: Path, content: bytes) -> bool:
    name = _NAME.fullmatch(path.name)
    return name is not None and name[2] == _digest(content)


def _step(path: Path) -> int:
    name = _NAME.fullmatch(path.name)
    assert name is not None
    return int(name[1])
