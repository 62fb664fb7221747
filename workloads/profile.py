"""The profile of a run: by which profiler, which steps, of which ranks; and how a workload's program captures it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from catalog.finding import Finding, Severity
from catalog.spelling import did_you_mean

if TYPE_CHECKING:
    # By the name that the module has on a node.
    import profiled_ranks
else:
    from workloads.runtime import profiled_ranks

DEFAULT_STEPS = "10:12"
"""The steps that are captured where none are named: compilation and caches are over by then. Our choice."""

DEFAULT_RANKS = "0-7"
"""The ranks that are captured where none are named: those of one node with eight accelerators. Our choice."""


class Profiler(StrEnum):
    """A program that records what a rank does."""

    TORCH = "torch"
    NSYS = "nsys"


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile of steps FIRST:LAST. `ranks` is empty where none are named, else `all` or numbers and ranges."""

    profiler: Profiler
    steps: str = DEFAULT_STEPS
    ranks: str = ""

    @property
    def first(self) -> int:
        """The first step that is captured, from 1."""
        return profiled_ranks.steps_of(self.steps)[0]

    @property
    def last(self) -> int:
        """The last step that is captured."""
        return profiled_ranks.steps_of(self.steps)[1]

    def numbers(self, ranks: int) -> list[int]:
        """Return the ranks that are captured, of a run with a number of them."""
        chosen = self.ranks or DEFAULT_RANKS
        return [rank for rank in range(ranks) if profiled_ranks.chosen_rank(chosen, rank)]

    def environment(self, *, efa: bool) -> dict[str, str]:
        """Return the variables that programs of workloads/runtime read; with `efa` the nodes have EFA interfaces."""
        return {
            profiled_ranks.PROFILER: self.profiler,
            profiled_ranks.STEPS: self.steps,
            profiled_ranks.RANKS: self.ranks or DEFAULT_RANKS,
            **({profiled_ranks.EFA: "1"} if efa and self.profiler is Profiler.NSYS else {}),
        }


ProfileArguments = Callable[[Profile, int], tuple[str, ...]]
"""A function that returns the arguments by which a program captures a profile, for a run with a number of ranks. It
raises ValueError where the program cannot capture it so."""


def _no_arguments(_: Profile, __: int) -> tuple[str, ...]:
    return ()


BY_CAPTURE: Mapping[Profiler, ProfileArguments] = MappingProxyType(
    {Profiler.TORCH: _no_arguments, Profiler.NSYS: _no_arguments}
)
"""The profilers of a program that uses `Capture` of workloads/runtime/training: it reads the run's variables."""


def requested(profiler: str, steps: str, ranks: str) -> tuple[Profile | None, list[Finding]]:
    """Return the profile that options ask for, None where they ask for none, and what is wrong with them."""
    findings: list[Finding] = []
    if not profiler:
        for option, value in (("profile-steps", steps), ("profile-ranks", ranks)):
            if value:
                hint = f"give --profile {' or '.join(Profiler)}"
                findings.append(
                    _error(option, value, f"'--{option}' is for a profile, and none is asked for", hint)
                )
        return None, findings
    if profiler not in list(Profiler):
        message = f"there is no profiler '{profiler}'{did_you_mean(profiler, Profiler)}"
        findings.append(_error("profile", profiler, message, f"profilers are {', '.join(Profiler)}"))
    if steps:
        try:
            profiled_ranks.steps_of(steps)
        except ValueError as error:
            findings.append(
                _error("profile-steps", steps, str(error), "the first and the last step to capture")
            )
    if ranks:
        try:
            profiled_ranks.check_ranks(ranks)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            findings.append(_error("profile-ranks", ranks, message, hint))
    if findings:
        return None, findings
    return Profile(Profiler(profiler), steps or DEFAULT_STEPS, ranks), findings


def check_profile(
    profile: Profile, workload: str, supported: Mapping[Profiler, ProfileArguments], ranks: int, *, gpus: bool
) -> Iterator[Finding]:
    """Yield what keeps a run from being profiled: the number of its `ranks`, and whether they run on `gpus`."""
    arguments = supported.get(profile.profiler)
    if arguments is None:
        others = ", ".join(supported)
        message = (
            f"{workload} cannot be profiled by {profile.profiler}: nothing in it starts and stops the capture"
        )
        yield _error(
            "profile", profile.profiler, message, f"it has {others}" if others else "see docs/profiling.md"
        )
    elif profile.profiler is Profiler.NSYS and not gpus:
        message = f"nsys captures steps on GPUs, and this run of {workload} has none"
        yield _error("profile", profile.profiler, message, f"give --profile {Profiler.TORCH}")
    elif profile.ranks and profiled_ranks.beyond(profile.ranks, ranks):
        beyond = "', '".join(profiled_ranks.beyond(profile.ranks, ranks))
        message = f"the run has {ranks} ranks, and '{beyond}' is not among them"
        yield _error("profile-ranks", profile.ranks, message, f"ranks are 0 to {ranks - 1}")
    else:
        try:
            arguments(profile, ranks)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            yield _error("profile", profile.profiler, message, hint)


def _error(path: str, value: str, message: str, hint: str) -> Finding:
    return Finding(f"run-{path}", Severity.ERROR, path, value, message, hint)
