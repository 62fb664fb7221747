"""The comparison of what is installed with the lock: a row for each part, and the problems of the whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .compatibility import differences, lock, problems
from .installed import Found, in_use, installed

EQUAL = "equal"
DIFFERS = "differs"
ABSENT = "absent"
ALSO = "also there"
NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Row:
    """A part of the lock: the version that is installed, the pinned one, the verdict, and where it was read.

    `verdict` is EQUAL, DIFFERS or ABSENT, ALSO for another version of a part than the one in use, or NOT_JUDGED for a
    version that differs of a part that nobody asked about.
    """

    part: str
    version: str
    pinned: str
    verdict: str
    place: str


@dataclass(frozen=True)
class Report:
    """The rows of all parts, and a sentence for each problem of their combination."""

    rows: tuple[Row, ...]
    problems: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """3 where nothing is installed, 1 where a part differs or the combination has a problem, else 0."""
        if all(row.verdict == ABSENT for row in self.rows):
            return 3
        return int(bool(self.problems) or any(row.verdict == DIFFERS for row in self.rows))

    def to_json(self) -> dict[str, Any]:
        """Return it as an object of JSON: `passed`, `parts` and `problems`."""
        return {
            "passed": self.exit_code == 0,
            "parts": [asdict(row) for row in self.rows],
            "problems": list(self.problems),
        }


def examine(root: Path, required: Sequence[str] = ()) -> Report:
    """Compare what is installed below a root with the lock.

    With `required` parts these alone are judged, and one that is absent is a problem: whoever installed them is not
    answerable for what was there before.

    Raises:
        ValueError: the packages of another system cannot be listed here.
    """
    report = compare(installed(root), judged=required or None)
    absent = [row.part for row in report.rows if row.verdict == ABSENT and row.part in required]
    told = tuple(f"'{part}' is required and not installed" for part in absent)
    return replace(report, problems=(*report.problems, *told))


def compare(found: Sequence[Found], judged: Collection[str] | None = None) -> Report:
    """Compare parts with the lock; all of them, or those of `judged` alone."""
    parts = lock()["parts"]
    stack = {name: version for name, version in in_use(found).items() if name in (judged or parts)}
    all_differ, differ = set(differences(in_use(found))), set(differences(stack))
    rows = []
    for name, pinned in parts.items():
        ours = [one for one in found if one.part == name]
        if not ours:
            rows.append(Row(name, "", pinned["version"], ABSENT, ""))
            continue
        verdict = DIFFERS if name in differ else NOT_JUDGED if name in all_differ else EQUAL
        rows.append(Row(name, ours[0].version, pinned["version"], verdict, ours[0].place))
        seen = {ours[0].version}
        for one in ours[1:]:
            if one.version not in seen:
                seen.add(one.version)
                rows.append(Row(name, one.version, pinned["version"], ALSO, one.place))
    return Report(tuple(rows), tuple(problems(stack)))
