"""Checkpoints by Orbax: each process writes its parts while the run continues, and a folder is whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from training import heartbeat
from training.errors import NO_INPUT, USAGE, WRITE, TrainingError
from training.run_folder import CHECKPOINTS

_OPTIONS = "options.json"


class Checkpoints:
    """The checkpoints of a run, in `checkpoints` of its folder; `fixed` are options and data that must not change."""

    def __init__(self, folder: Path, keep: int, fixed: dict[str, Any]) -> None:
        """Look what is there.

        Raises:
            TrainingError: what is there was written with other options, or cannot be read.
        """
        kept = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager((folder / CHECKPOINTS).absolute(), options=kept)
        self._written: int | None = None
        self.newest: int | None = self._manager.latest_step()
        record = folder / _OPTIONS
        if self.newest is None:
            if jax.process_index() == 0:
                record.write_text(json.dumps(fixed, indent=1) + "\n", encoding="utf-8")
            return
        try:
            before = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"'{record}', of the checkpoints beside it: {error}", NO_INPUT) from error
        changed = [
            f"--{name.replace('_', '-')} was {before.get(name)} and is {value}"
            for name, value in fixed.items()
            if before.get(name) != value
        ]
        if changed:
            raise TrainingError(
                f"this run's checkpoints were written with other options: {', '.join(changed)}; give those of "
                "before, or another run id",
                USAGE,
            )

    def restore(self, abstract: Any) -> Any:
        """Return the newest state; `abstract` has the shape and the sharding of each array.

        Raises:
            TrainingError: it cannot be read.
        """
        with heartbeat.phase("restore"):
            try:
                return self._manager.restore(self.newest, args=ocp.args.StandardRestore(abstract))
            except (OSError, ValueError, KeyError) as error:
                raise TrainingError(f"checkpoint of step {self.newest}: {error}", NO_INPUT) from error

    def save(self, step: int, state: Any) -> None:
        """Begin to write a state, after the one before is written.

        Raises:
            TrainingError: the one before could not be written, or this one cannot.
        """
        self.finish()
        with heartbeat.phase("checkpoint"):
            try:
                self._manager.save(step, args=ocp.args.StandardSave(state), force=True)
            except OSError as error:
                raise TrainingError(f"checkpoint of step {step}: {error}", WRITE) from error
        self._written = step

    def written(self) -> int | None:
        """Return the step of a checkpoint that has become whole since this was asked before, or None."""
        if self._written is None or self._manager.is_saving_in_progress():
            return None
        step, self._written = self._written, None
        return step

    def finish(self) -> None:
        """Wait for the checkpoint that is on its way.

        Raises:
            TrainingError: it could not be written.
        """
        with heartbeat.phase("checkpoint"):
            try:
                self._manager.wait_until_finished()
            except OSError as error:
                raise TrainingError(f"checkpoint of step {self._written}: {error}", WRITE) from error

    def close(self) -> None:
        """Leave the folder."""
        self._manager.close()
