"""The comparison of a run's ranks: each rank's times per step, and the rank that the others wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from cli.profiles.activity import ProfileError, RankActivity
from cli.profiles.chrome_trace import is_chrome_trace, read_trace
from cli.profiles.nsys_export import is_nsys_export, read_export

if TYPE_CHECKING:
    # By the name that the module has on a node.
    from profiled_ranks import FOLDER
else:
    from workloads.runtime.profiled_ranks import FOLDER

STRAGGLER_RATIO = 1.1
"""Compute time of a rank over the median's, from which it is reported: our choice."""

_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Straggler:
    """A rank that computes longer than the others: by which ratio to the median, and whether they wait for it.

    Collectives end on all ranks together: the rank that comes last communicates for the shortest time.
    """

    label: str
    ratio: float
    awaited: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile of a run: the activity of its ranks, in their order, and the problems of files that are left out."""

    ranks: list[RankActivity]
    problems: list[str]


def read_profile(path: Path) -> Profile:
    """Return the activity of every rank in a file, or in the files of a folder and its folders.

    Of a run's folder it is that of the files in its folder `profile`. A file that cannot be read, as of a rank that was
    killed while it wrote, leaves the others of its folder to compare.

    Raises:
        ProfileError: there is no such file, none is of a profile, or two are of one rank; the message has all.
    """
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    files = [path] if path.is_file() else sorted(each for each in folder.rglob("*") if _is_profile(each))
    if not files:
        raise ProfileError(_nothing(path))
    found: list[RankActivity] = []
    problems: list[str] = []
    for file in files:
        try:
            found += _read(file)
        except ProfileError as error:
            problems.append(str(error))
    if not found:
        raise ProfileError("; ".join(problems))
    twice: list[str] = []
    seen: dict[int, Path] = {}
    for one in found:
        if one.rank is None:
            continue
        if one.rank in seen:
            twice.append(
                f"'{seen[one.rank]}' and '{one.source}' are both of rank {one.rank}; name one of the two, or a folder "
                "with one profile"
            )
        seen.setdefault(one.rank, one.source)
    if twice:
        raise ProfileError("; ".join([*problems, *twice]))
    return Profile(sorted(found, key=lambda one: (one.rank is None, one.rank or 0, one.label)), problems)


def straggler(ranks: Sequence[RankActivity]) -> Straggler | None:
    """Return the rank that computes the longest, if it is far above the median of at least two ranks."""
    if len(ranks) < 2:
        return None
    shares = [one.shares for one in ranks]
    times = [one.compute / steps(rank) for one, rank in zip(shares, ranks, strict=True)]
    communicating = [one.communication / steps(rank) for one, rank in zip(shares, ranks, strict=True)]
    slowest = times.index(max(times))
    others = [time for number, time in enumerate(times) if number != slowest]
    typical = median(others)
    if not typical or times[slowest] < STRAGGLER_RATIO * typical:
        return None
    awaited = communicating[slowest] == min(communicating) and max(communicating) > 0
    return Straggler(ranks[slowest].label, times[slowest] / typical, awaited)


def steps(rank: RankActivity) -> int:
    """Return the number of steps of a profile, 1 where it names none."""
    return len(rank.steps) or 1


def as_document(ranks: Sequence[RankActivity], top: int) -> dict[str, Any]:
    """Return the report for programs; times are milliseconds of the whole profile."""
    slow = straggler(ranks)
    return {
        "ranks": [
            {
                "rank": one.rank,
                "label": one.label,
                "host": one.host,
                "on": one.on,
                "file": str(one.source),
                "steps": {number: (end - start) / _MILLION for number, (start, end) in one.steps.items()},
                "milliseconds": {
                    "profile": one.shares.window / _MILLION,
                    "compute": one.shares.compute / _MILLION,
                    "communication": one.shares.communication / _MILLION,
                    "communication_overlapped": one.shares.overlapped / _MILLION,
                    "communication_exposed": one.shares.exposed / _MILLION,
                    "copies": one.shares.copies / _MILLION,
                    "waiting": one.shares.waiting / _MILLION,
                },
                "operations": [
                    {
                        "name": each.name,
                        "kind": str(each.kind),
                        "count": each.count,
                        "milliseconds": each.nanoseconds / _MILLION,
                    }
                    for each in one.operations[:top]
                ],
            }
            for one in ranks
        ],
        "straggler": None
        if slow is None
        else {"rank": slow.label, "compute_ratio": slow.ratio, "awaited": slow.awaited},
    }


def _is_profile(path: Path) -> bool:
    if not path.is_file() or path.name.startswith("."):
        return False
    return is_chrome_trace(path) or is_nsys_export(path)


def _read(path: Path) -> list[RankActivity]:
    if is_nsys_export(path):
        return read_export(path)
    if is_chrome_trace(path):
        return [read_trace(path)]
    raise ProfileError(_nothing(path))


def _nothing(path: Path) -> str:
    forms = "a trace of torch's profiler (.json, .json.gz) or an export of nsys (SQLite)"
    reports = [path] if path.is_file() else sorted(path.rglob("*.nsys-rep"))[:1]
    if reports and reports[0].name.endswith(".nsys-rep"):
        return f"'{reports[0]}' is a report of nsys; export it first: nsys export --type sqlite {reports[0]}"
    if path.is_dir():
        return f"the folder '{path}' has no profile: it must have {forms}"
    if not path.exists():
        return f"there is no file or folder '{path}'; runs write profiles to the folder 'profile' of their folder"
    return f"'{path}' is no profile: give {forms}, or a folder of them"
