"""The processes of a node's ranks, as Linux shows them below /proc: which they are, and whether one is frozen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


def descendants(process: int) -> list[int]:
    """Return the ids of all processes that a process has started, directly or not, and that still run."""
    children: dict[int, list[int]] = {}
    for path in _PROC.glob("[0-9]*"):
        parent = _status(int(path.name)).get("PPid", "")
        if parent.isdecimal():
            children.setdefault(int(parent), []).append(int(path.name))
    found, open_ = [], [process]
    while open_:
        for child in children.get(open_.pop(), []):
            found.append(child)
            open_.append(child)
    return found


def ranks(process: int) -> dict[int, int]:
    """Return the process id of each rank that a launcher has started, by its variables RANK and LOCAL_RANK.

    What a rank starts itself, a loader of data for one, inherits them: the first process that has them counts. The
    launcher itself is a rank where the scheduler starts every rank. RANK alone names a node on Kubernetes.
    """
    found = {}
    for candidate in [process, *descendants(process)]:
        rank = _rank(candidate)
        if rank is not None and rank not in found:
            found[rank] = candidate
    return found


def state(process: int) -> str:
    """Return a process's state in Linux's words, such as 'S (sleeping)' or 'T (stopped)'; 'gone' without one."""
    return _status(process).get("State", "gone")


def catches(process: int, number: int) -> bool:
    """Return whether a process has a handler of its own for a signal; one without may die of it."""
    mask = _status(process).get("SigCgt", "0")
    return bool(int(mask, 16) >> (number - 1) & 1)


def _rank(process: int) -> int | None:
    try:
        words = (_PROC / str(process) / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    variables = dict(word.partition(b"=")[::2] for word in words)
    rank = variables.get(b"RANK", b"")
    return int(rank) if b"LOCAL_RANK" in variables and rank.isdigit() else None


def _status(process: int) -> dict[str, str]:
    """Return the fields of a process's status; none when it has ended."""
    try:
        text = (_PROC / str(process) / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return dict(_fields(text))


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        yield name, value.strip()
