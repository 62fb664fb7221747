"""The progress of a workload's program: the lines that report it, their metrics, and the criteria of a benchmark.

A line of progress matches a regular expression with named groups, and each group is a metric:

    Progress(
        pattern=rf"step=(?P<step>[0-9]+) loss=(?P<loss>{number()})",
        start_seconds=1200,
        stall_seconds=900,
        printed_by=PrintedBy.RANK_0,
        criteria=(Criterion("loss", at_most=4.0),),
    )

From it come the detection of stalls, the values in the launch guard's messages and in `progress.prom` of the run's
folder, and the verdict on a benchmark. It needs only the program's output, so it works for third-party programs
too. `progress_lines.series` in `workloads/runtime` reads the metrics of a log.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

START_SECONDS, STALL_SECONDS = "TRAINFORGE_START_SECONDS", "TRAINFORGE_STALL_SECONDS"
PROGRESS_VARIABLES = (START_SECONDS, STALL_SECONDS)
"""Variables of a run that take the place of its workload's numbers; the launch guard reads them on the node."""

METRICS: Mapping[str, str] = MappingProxyType(
    {
        "step": "steps done",
        "loss": "mean loss over all ranks",
        "samples_per_second": "samples a second over all ranks",
        "tokens_per_second": "tokens a second over all ranks",
        "tokens_per_second_per_rank": "tokens a second on each rank",
        "seconds_per_step": "seconds of a step",
        "milliseconds_per_step": "milliseconds of a step",
        "steps_per_second": "steps a second",
        "tflops": "model TFLOPS of each rank's accelerator",
        "mfu": "share of the accelerator's peak that the model's arithmetic uses",
        "mfu_percent": "the same share in percent, from 0 to 100",
        "learning_rate": "learning rate",
        "gradient_norm": "norm of all gradients together, before clipping",
        "consumed_samples": "samples used since the first step",
        "size": "bytes of a message",
        "time": "microseconds of an operation",
        "algbw": "algorithm bandwidth in GB/s",
        "busbw": "bus bandwidth in GB/s",
        "wrong": "elements with a wrong value",
    }
)
"""The metrics that a group may name without a description, and what each measures."""

SPEEDS = frozenset(
    {
        "samples_per_second",
        "tokens_per_second",
        "tokens_per_second_per_rank",
        "seconds_per_step",
        "milliseconds_per_step",
        "steps_per_second",
    }
)
"""Metrics of how fast a program trains. With the size of a step each follows from any other."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def number(digits: str = "[0-9][0-9.e+-]*") -> str:
    """Return the pattern of a metric that may be no finite number: `digits`, or nan and inf in any case.

    A loss needs it, and whatever is in the same line and follows from it: a pattern that takes digits alone does not
    match the line of a loss that is NaN, and nobody hears of it.
    """
    return rf"(?:[+-]?(?i:nan|inf)|{digits})"


Of = Literal["last", "median", "every"]


class PrintedBy(StrEnum):
    """The rank that prints the lines of progress.

    `EVERY_NODE`: with the variable TRAINFORGE_PROGRESS=each-node the first rank of every node does, else rank 0 alone.
    `LAST_RANK`: a rank of the last node, as where the last stage of a pipeline knows the loss.
    """

    RANK_0 = "rank 0"
    LAST_RANK = "last rank"
    EVERY_NODE = "every node"


@dataclass(frozen=True, slots=True)
class Criterion:
    """A bound that a metric must keep for a run to pass: its `last` value, the `median`, or `every` value.

    The launch guard of the node that prints the metric judges a program that has ended with exit code 0. A run that
    misses one ends with exit code 81, which is final. A metric that was never printed misses too. A job of several
    nodes on Batch has the main node's exit code, so a criterion holds there where rank 0 prints.

    Raises:
        ValueError: there is no bound, a bound is not finite, or the lower one is above the upper one.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    of: Of = "last"

    def __post_init__(self) -> None:
        """Check the bounds."""
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if not bounds:
            raise ValueError(f"criterion '{self.metric}': give at_least, at_most or both")
        if not all(math.isfinite(bound) for bound in bounds):
            raise ValueError(f"criterion '{self.metric}': a bound must be a finite number")
        if bounds != sorted(bounds):
            raise ValueError(
                f"criterion '{self.metric}': at_least {self.at_least:g} is above at_most {self.at_most:g}"
            )

    @property
    def options(self) -> tuple[str, ...]:
        """The launch guard's options for the criterion."""
        bounds = {"at-least": self.at_least, "at-most": self.at_most}
        return tuple(
            f"--{name}={self.metric}:{self.of}:{bound!r}"
            for name, bound in bounds.items()
            if bound is not None
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress lines of a program: a regular expression with named groups that every step's line matches.

    Each group is a number with the name of a metric: one of METRICS, or one that `metrics` describes. `start_seconds`
    is how long the first line may take (imports, compilation), or a checkpoint, `stall_seconds` how long the run may
    make no progress before the launch guard ends it: longer than every pause between two lines, for a program without
    `training/heartbeat.py`. `criteria` are what a benchmark must reach; without any a run passes that ends with 0.

    `Progress()`, without a pattern, is that of a program with unknown output: a stall is not detected.

    Raises:
        ValueError: the pattern is no regular expression, it has no named group, a group or a criterion names a metric
            that nothing describes, a number of seconds is not positive, or there is no pattern for criteria to judge.
    """

    pattern: str = ""
    start_seconds: int = 900
    stall_seconds: int = 900
    printed_by: PrintedBy = PrintedBy.RANK_0
    criteria: tuple[Criterion, ...] = ()
    metrics: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Check the pattern, its groups and the criteria."""
        if not self.pattern and not self.criteria:
            return
        try:
            groups = tuple(re.compile(self.pattern).groupindex)
        except re.error as error:
            raise ValueError(f"progress pattern '{self.pattern}': no regular expression: {error}") from error
        if not groups:
            raise ValueError(
                f"progress pattern '{self.pattern}': no named group; write (?P<step>[0-9]+) for a metric 'step'"
            )
        for name in groups:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"progress pattern '{self.pattern}': the group '{name}' is no metric's name; "
                    "use lower-case letters, digits and underscores, a letter first"
                )
            if name not in METRICS and not self.metrics.get(name):
                raise ValueError(
                    f"progress pattern '{self.pattern}': nothing describes the metric '{name}'; "
                    f"give metrics={{'{name}': '...'}} or use one of {', '.join(METRICS)}"
                )
        for criterion in self.criteria:
            if criterion.metric not in groups:
                raise ValueError(
                    f"criterion '{criterion.metric}': the progress pattern has no group of that name, "
                    f"but {', '.join(groups)}"
                )
        if min(self.start_seconds, self.stall_seconds) < 1:
            raise ValueError("start_seconds and stall_seconds must be 1 or more")

    def description(self, metric: str) -> str:
        """Return what a metric of the pattern measures."""
        return self.metrics.get(metric) or METRICS[metric]


def with_variables(progress: Progress, environment: Mapping[str, str]) -> Progress:
    """Return a workload's progress with the numbers that a run's variables give."""
    start, stall = (environment.get(name, "") for name in PROGRESS_VARIABLES)
    if not (start.isdecimal() or stall.isdecimal()):
        return progress
    return replace(
        progress,
        start_seconds=int(start) if start.isdecimal() else progress.start_seconds,
        stall_seconds=int(stall) if stall.isdecimal() else progress.stall_seconds,
    )
