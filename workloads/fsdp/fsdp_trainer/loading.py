"""The loader of batches: it makes the next step's while this one computes."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from fsdp_trainer.batches import Batch, Position, Source
from fsdp_trainer.options import Options
from fsdp_trainer.stream import Streamed, at_commits
from fsdp_trainer.synthetic import Synthetic
from training.process_group import Ranks
from training.run_folder import FOLDER


def source(chosen: Options, ranks: Ranks, *, validation: bool = False) -> Source:
    """Return the source that the options name.

    Raises:
        TrainingError: as the source's.
    """
    if chosen.data == "synthetic":
        return Synthetic(chosen, ranks, validation=validation)
    folder = os.environ.get(FOLDER)
    pinned = at_commits(chosen, ranks, Path(folder) if folder else None)
    return Streamed(pinned, ranks, validation=validation)


class Loader:
    """Batches of a source in order of steps, one ahead; `position` is that of the last batch given out."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.position: Position = source.position()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._ahead: tuple[int, Future[tuple[Batch, Position]]] | None = None

    def take(self, step: int) -> Batch:
        """Return the batch of a step and begin with the next one's.

        Raises:
            TrainingError: as the source's.
        """
        if self._ahead is None:
            self._ahead = (step, self._thread.submit(self._make, step))
        ahead, making = self._ahead
        assert ahead == step, "steps are taken in order"
        self._ahead = None
        batch, self.position = making.result()
        self._ahead = (step + 1, self._thread.submit(self._make, step + 1))
        return batch

    def close(self) -> None:
        """Finish the batch that is made and give the thread back."""
        self._thread.shutdown(cancel_futures=True)

    def _make(self, step: int) -> tuple[Batch, Position]:
        return self.source.take(step), self.source.position()
