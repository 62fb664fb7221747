"""The variables of a profiled run: by which profiler, which steps, of which ranks; and the folder of the results.

The standard library alone: the program around a rank (`profiled_rank.py`) and the trainers read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PROFILER = "TRAINFORGE_PROFILE"
"""Variable: `torch` or `nsys`; not set in a run without a profile."""

STEPS = "TRAINFORGE_PROFILE_STEPS"
"""Variable: the first and the last step that are captured, FIRST:LAST."""

RANKS = "TRAINFORGE_PROFILE_RANKS"
"""Variable: the ranks, `all` or numbers and ranges such as `0,8-15`."""

EFA = "TRAINFORGE_PROFILE_EFA"
"""Variable: `1` where nsys reads the counters of the node's EFA interfaces."""

FOLDER = "profile"
"""Folder of the run's folder that profiles are written to."""


def steps_of(text: str) -> tuple[int, int]:
    """Return the first and the last step of `FIRST:LAST`.

    Raises:
        ValueError: these are not whole numbers from 1, the last not before the first.
    """
    words = text.split(":")
    if len(words) == 2 and all(word.isascii() and word.isdecimal() for word in words):
        first, last = map(int, words)
        if 1 <= first <= last:
            return first, last
    raise ValueError(f"'{text}' is not FIRST:LAST, whole numbers from 1 such as 10:12")


def check_ranks(text: str) -> None:
    """Check a list of ranks.

    Raises:
        ValueError: it is neither `all` nor numbers and ranges.
    """
    if text != "all":
        _ranges(text)


def chosen_rank(text: str, rank: int) -> bool:
    """Return whether a list of ranks has a rank.

    Raises:
        ValueError: it is neither `all` nor numbers and ranges.
    """
    return text == "all" or any(rank in each for each in _ranges(text))


def beyond(text: str, ranks: int) -> list[str]:
    """Return the parts of a list of ranks that name ranks which a run with a number of them does not have.

    Raises:
        ValueError: it is neither `all` nor numbers and ranges.
    """
    if text == "all":
        return []
    return [
        word for word, each in zip(text.split(","), _ranges(text), strict=True) if each.stop > max(ranks, 0)
    ]


def trace_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of a run's profiles.

    Raises:
        ValueError: RUN_FOLDER is not set.
    """
    folder = environment.get("RUN_FOLDER", "")
    if not folder:
        raise ValueError("RUN_FOLDER is not set: it names the run's folder, where profiles are written")
    return Path(folder, FOLDER)


def _ranges(text: str) -> list[range]:
    found = []
    for word in text.split(","):
        first, dash, last = word.partition("-")
        last = last if dash else first
        numbers = all(part.isascii() and part.isdecimal() for part in (first, last))
        if not numbers or int(first) > int(last):
            raise ValueError(
                f"'{text}' is no list of ranks; give 'all', or numbers and ranges such as 0,8-15"
            )
        found.append(range(int(first), int(last) + 1))
    return found
