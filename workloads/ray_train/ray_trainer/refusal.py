"""A failure of ranks that another start would only repeat, kept in the run's folder for the next start and the driver.

Ray Train starts all ranks again after any failure. The ranks that find this file end at once, and the driver ends with
its exit code.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from training.errors import TrainingError

FILE = "refused.json"


def keep(folder: Path, error: TrainingError) -> None:
    """Write down the failure; the last rank's counts."""
    unfinished = folder / f".{FILE}.{os.getpid()}"
    unfinished.write_text(json.dumps({"code": error.code, "message": str(error)}), encoding="utf-8")
    os.replace(unfinished, folder / FILE)


def find(folder: Path) -> TrainingError | None:
    """Return the failure that was written down, or None."""
    try:
        record = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return TrainingError(record["message"], record["code"])


def forget(folder: Path) -> None:
    """Remove what an earlier start of the run wrote down."""
    (folder / FILE).unlink(missing_ok=True)
