"""The request to stop that comes by a file: Ray runs ranks in threads, which hear no signals."""

from __future__ import annotations

import os
from pathlib import Path

from ray_nodes import STOP_FILE
from training.process_group import Ranks
from training.signals import StopSignal


class StopFile(StopSignal):
    """The request to stop this run, as `ray_nodes` writes it on a node when a signal comes there."""

    def __init__(self) -> None:
        super().__init__()
        path = os.environ.get(STOP_FILE)
        self._path = Path(path) if path else None

    def listen(self) -> None:
        """Do nothing: the file is read at each step."""

    def begin(self, ranks: Ranks) -> None:
        """Read the file, and begin a step's exchange."""
        if not self.received and self._path is not None and self._path.exists():
            self.received = int(self._path.read_text(encoding="ascii"))
        super().begin(ranks)
