"""Checkpoints of models that are spread over ranks: each rank writes its shards while training continues.

A checkpoint is a folder `step-<step>` as torch.distributed.checkpoint writes it, and `finished.json` in it, which
appears last of all: the size and the digest of every file, and its program's description of the run. A folder without
it was never finished and counts for nothing; a file that is not what was written is damaged.

torch.distributed.checkpoint hands objects between ranks, for which it needs numpy.
"""

from __future__ import annotations

import concurrent.futures as futures
import contextlib
import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from training import checkpoint_folder, objects
from training.checkpoint_folder import CheckpointFolder
from training.checkpoint_reader import Planner, Reader
from training.errors import NO_INPUT, WRITE, TrainingError, say
from training.process_group import TIMEOUT_SECONDS, Ranks

State = dict[str, Any]
About = dict[str, Any]


class DistributedCheckpoints:
    """The checkpoints of one run below `folder`, of which the newest `keep` stay; all ranks call every method.

    One save is under way at a time, in a thread and a process group of its own: in a group that others use,
    collectives of the two threads would be confused.
    """

    def __init__(self, folder: Path, ranks: Ranks, keep: int = 3) -> None:
        if keep < 1:
            raise TrainingError(f"--keep is {keep}; at least 1 checkpoint must be kept")
        self.folder = folder
        self.keep = keep
        group = dist.new_group(backend="gloo", timeout=timedelta(seconds=TIMEOUT_SECONDS))
        assert group is not None
        self._ranks = dataclasses.replace(ranks, saving=group)
        self._files = CheckpointFolder(folder)
        self._thread = futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        gpu = ranks.device.type == "cuda"
        self._copying = StagingOptions(
            use_pinned_memory=gpu,
            use_shared_memory=False,
            use_async_staging=True,
            use_non_blocking_copy=gpu,
        )
        self._stager = DefaultStager(self._copying)
        self._stager_lasts = _stager_lasts()
        self._staging: futures.Future[State] | None = None
        self._writing: futures.Future[int] | None = None

    @property
    def written(self) -> bool:
        """True if the current save has succeeded on this rank; `wait` then returns its step at once."""
        writing = self._writing
        return writing is not None and writing.done() and writing.exception() is None

    @property
    def failed(self) -> bool:
        """True if the current save has failed on this rank; `wait` then raises the reason."""
        writing = self._writing
        return writing is not None and writing.done() and writing.exception() is not None

    def save(self, step: int, state: State, about: About) -> int | None:
        """Begin to write the state after `step` steps; return the step of the save before, if one ended now.

        `state` is copied while the next step computes: call `staged` before anything of it changes. `about` is
        rank 0's to tell, plain values for JSON.

        Raises:
            TrainingError: the save before failed.
        """
        before = self.wait()
        if self._ranks.device.type == "cuda":
            # The copy has a stream of its own, which does not wait for what computes the state.
            torch.cuda.current_stream(self._ranks.device).synchronize()
        staging = self._stager.stage(state)
        assert isinstance(staging, futures.Future)
        self._staging = staging
        self._writing = self._thread.submit(self._write, step, staging, about)
        return before

    def staged(self) -> None:
        """Wait until the state is copied. `wait` reports a copy that failed."""
        if self._staging is not None:
            futures.wait([self._staging])
            self._staging = None
            if not self._stager_lasts:
                self._stager.close()
                self._stager = DefaultStager(self._copying)

    def wait(self) -> int | None:
        """Wait for the save under way and return its step, or None where there is none.

        Raises:
            TrainingError: the file system is full or not writable; the checkpoints before are untouched.
        """
        self.staged()
        writing, self._writing = self._writing, None
        return None if writing is None else writing.result()

    def close(self) -> None:
        """Give back the threads; a save that was not waited for is finished first."""
        self._thread.shutdown()
        self._stager.close()

    def load(self, template: Callable[[About], State]) -> tuple[int, State, About] | None:
        """Read the newest sound checkpoint and return (step, state, about), or None where there is none.

        Nothing that a checkpoint holds is executed, whoever wrote it: `checkpoint_reader`.

        `template` makes the state to read into, from the checkpoint's description of its run; tensors are filled in
        place. A damaged checkpoint is named, set aside under another name, and the one before is taken.

        Raises:
            TrainingError: there are checkpoints, and all of them are damaged; or what `template` raises.
        """
        damaged: list[str] = []
        while True:
            found = objects.broadcast(self._files.newest(damaged) if self._ranks.first else None, self._ranks)
            damaged = found["damaged"]
            if found["step"] is None:
                break
            name = checkpoint_folder.name(found["step"])
            altered = self._altered(name, found["files"])
            if altered:
                damaged.append(name)
                if self._ranks.first:
                    say(f"checkpoint '{name}' is not what was written: {altered}", error=True)
                continue
            state = template(found["about"])
            try:
                load(
                    state,
                    storage_reader=Reader(self.folder / name),
                    planner=Planner(),
                    process_group=self._ranks.saving,
                )
            except CheckpointException as error:
                # Every rank gets it, whichever could not read.
                damaged.append(name)
                if self._ranks.first:
                    say(f"checkpoint '{name}' cannot be read: {_reasons(error)}", error=True)
                continue
            if self._ranks.first:
                for bad in damaged:
                    self._files.set_aside(bad)
                    say(f"checkpoint '{bad}' is damaged; falling back to '{name}'", error=True)
            return found["step"], state, found["about"]
        if damaged:
            raise TrainingError(
                f"all {len(damaged)} checkpoints in '{self.folder}' are damaged (files are gone, or not what was "
                "written); move them away to begin from step 0, or use another run id",
                NO_INPUT,
            )
        return None

    def _write(self, step: int, staging: futures.Future[State], about: About) -> int:
        """Write shards, then the marker; all ranks learn of a failure."""
        name = checkpoint_folder.name(step)
        try:
            writer = FileSystemWriter(self.folder / name, sync_files=True)
            save(staging.result(), storage_writer=writer, process_group=self._ranks.saving)
            parts = objects.gather(self._written(name), self._ranks)
            failure = self._finish(step, about, parts) if self._ranks.first else ""
            failure = objects.broadcast(failure, self._ranks)
        except CheckpointException as error:
            failure = _reasons(error)
        if failure:
            if self._ranks.first:
                # What is half written takes the room that the next try needs.
                with contextlib.suppress(OSError):
                    self._files.remove(name)
            raise TrainingError(
                f"checkpoint of step {step} cannot be written to '{self.folder}': {failure}; make room or choose "
                "another run folder, then start again",
                WRITE,
            )
        return step

    def _written(self, name: str) -> dict[str, Any]:
        """Return the `files` that this rank has written, or the `error` of reading one of them."""
        path = self.folder / name
        try:
            there = sorted(entry.name for entry in path.iterdir())
            mine = checkpoint_folder.share(there, self._ranks.rank, self._ranks.count)
            return {"files": checkpoint_folder.contents(path, mine)}
        except OSError as error:
            return {"error": f"rank {self._ranks.rank}: {error}"}

    def _finish(self, step: int, about: About, parts: list[dict[str, Any]]) -> str:
        errors = [each["error"] for each in parts if "error" in each]
        if errors:
            return "; ".join(errors)
        files = {each: content for part in parts for each, content in part["files"].items()}
        try:
            self._files.finish(step, about, files)
            self._files.prune(step, self.keep)
        except OSError as error:
            return str(error)
        return ""

    def _altered(self, name: str, files: checkpoint_folder.Files) -> str:
        """Return which files are not what was written, in words, or nothing; each rank looks at its share."""
        path = self.folder / name
        wrong: list[str] = []
        for each in checkpoint_folder.share(files, self._ranks.rank, self._ranks.count):
            try:
                if checkpoint_folder.contents(path, [each])[each] != files[each]:
                    wrong.append(f"'{each}' has another digest")
            except OSError as error:
                wrong.append(str(error))
        parts = objects.gather(wrong, self._ranks)
        found: str = objects.broadcast("; ".join(word for part in parts for word in part), self._ranks)
        return found


def _stager_lasts() -> bool:
    """Return whether torch's stager can be used a second time, with the memory of the first.

    That of torch 2.11 fails with a KeyError (pytorch issue 183413); of it every save needs a new one.
    """
    stager = DefaultStager(StagingOptions(False, False, False, False))
    try:
        stager.stage({})
        stager.stage({})
    except KeyError:
        return False
    finally:
        stager.close()
    return True


def _reasons(error: CheckpointException) -> str:
    """Return what ranks said, in a line: the exception's own text is their tracebacks."""
    said = {f"{type(failure[0]).__name__}: {failure[0]}" for failure in error.failures.values()}
    return "; ".join(sorted(said))
