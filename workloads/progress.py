"""The numbers of a run's progress: its workload's, unless variables of the run give others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workloads.spec import Progress

START_SECONDS, STALL_SECONDS = "TRAINFORGE_START_SECONDS", "TRAINFORGE_STALL_SECONDS"
PROGRESS_VARIABLES = (START_SECONDS, STALL_SECONDS)
"""Variables of a run that take the place of its workload's numbers; the launch guard reads them on the node."""


def with_variables(progress: Progress, environment: Mapping[str, str]) -> Progress:
    """Return a workload's progress with the numbers that a run's variables give."""
    start, stall = (environment.get(name, "") for name in PROGRESS_VARIABLES)
    return replace(
        progress,
        start_seconds=int(start) if start.isdecimal() else progress.start_seconds,
        stall_seconds=int(stall) if stall.isdecimal() else progress.stall_seconds,
    )
