"""The progress of a workload's program, and its numbers, which variables of a run may give anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

START_SECONDS, STALL_SECONDS = "TRAINFORGE_START_SECONDS", "TRAINFORGE_STALL_SECONDS"
PROGRESS_VARIABLES = (START_SECONDS, STALL_SECONDS)
"""Variables of a run that take the place of its workload's numbers; the launch guard reads them on the node."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress lines of a program: a regular expression that every step's line matches.

    `start_seconds` is how long the first may take (imports, compilation), or a checkpoint, `stall_seconds` how long the
    run may make no progress before the launch guard ends it: longer than every pause between two lines, for a program
    without `training/heartbeat.py`. `each_node` says that with the variable TRAINFORGE_PROGRESS=each-node the first
    rank of every node prints it, else rank 0 alone.
    """

    pattern: str
    start_seconds: int
    stall_seconds: int
    each_node: bool = False


def with_variables(progress: Progress, environment: Mapping[str, str]) -> Progress:
    """Return a workload's progress with the numbers that a run's variables give."""
    start, stall = (environment.get(name, "") for name in PROGRESS_VARIABLES)
    return replace(
        progress,
        start_seconds=int(start) if start.isdecimal() else progress.start_seconds,
        stall_seconds=int(stall) if stall.isdecimal() else progress.stall_seconds,
    )
