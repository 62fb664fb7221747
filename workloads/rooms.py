"""Finding workloads: one room each, found by the file that describes it."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from catalog.spelling import did_you_mean
from workloads.spec import Workload, room_of

_HERE = Path(__file__).parent


class UnknownWorkloadError(ValueError):
    """A workload that is not there; the message names the nearest and all there are."""

    def __init__(self, name: str) -> None:
        self.name = name
        known = names()
        super().__init__(
            f"there is no workload '{name}'{did_you_mean(name, known)}; there are {', '.join(known)}"
        )


@cache
def names() -> tuple[str, ...]:
    """Return the public names of all workloads, sorted. Reads folder names only."""
    rooms = (path.parent.name for path in _HERE.glob("*/workload.py"))
    return tuple(sorted(room.replace("_", "-") for room in rooms))


@cache
def workload(name: str) -> Workload:
    """Return a workload by its public name.

    Raises:
        UnknownWorkloadError: there is none of that name.
    """
    if name not in names():
        raise UnknownWorkloadError(name)
    found: Workload = importlib.import_module(f"workloads.{room_of(name)}.workload").WORKLOAD
    return found


def folder(found: Workload) -> Path:
    """Return the folder of a workload's room."""
    return _HERE / found.room
