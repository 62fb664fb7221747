"""The exit codes of a node, and which of them another start would only repeat."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

USAGE = 2
"""The command line or the environment is wrong (argparse's, and training/errors.py)."""

UNAVAILABLE = 69
"""The node lacks something (EX_UNAVAILABLE of sysexits.h)."""

WRONG_FABRIC = 76
"""NCCL speaks another protocol than promised, or does not say which (EX_PROTOCOL of sysexits.h)."""

LOST_NODE = 79
"""The job lost a node, or one never came: start it again. No program of ours ends with it by itself."""

STALLED = 80
"""The run made no progress and was ended: start it again. No code of sysexits.h, which end at 78."""

MISSED = 81
"""The program ended well and missed a criterion of its workload, a slow benchmark for example. No code of sysexits.h.
"""

FINAL = frozenset({USAGE, 65, 66, UNAVAILABLE, 74, WRONG_FABRIC, MISSED, 126, 127})
"""Codes that the same start would end with again: a wrong command line, a loss that is not finite, missing input, what
the guard refuses, a checkpoint that cannot be written (training/errors.py), a criterion that is missed, a program that
cannot be started."""

STOPPED = 75
"""What ranks end with that were told to stop and have saved (training/errors.py): no failure."""

FINAL_FILE = "final_exit_code"
"""File in the run's folder that says that another start would end as this one did, and with which code."""


def of_ranks(code: int, told: Iterable[int | None]) -> int:
    """Return the exit code of a program that failed with `code`: what its ranks have told where that is final.

    `told` is None for a rank that told nothing, a killed one for example.
    """
    told = list(told)
    final = [one for one in told if one is not None and one in FINAL]
    if final:
        return final[0]
    return STOPPED if told and set(told) == {STOPPED} else code


def of_process(code: int) -> int:
    """Return a process's exit code as a shell tells it: 128 and the number where a signal ended it."""
    return code if code >= 0 else 128 - code


def keep(code: int, logs: Path) -> None:
    """Write down a code that another start would only repeat; the first of the nodes that says so counts."""
    if code in FINAL or code == STOPPED:
        with contextlib.suppress(OSError), (logs.parent / FINAL_FILE).open("x", encoding="ascii") as file:
            file.write(f"{code}\n")


def forget_stop(logs: Path) -> None:
    """Remove what an earlier start has left that was told to stop: HyperPod resumes a step within the same job.

    What another node's guard of this very start may have written meanwhile stays: no guard writes STOPPED so early.
    """
    path = logs.parent / FINAL_FILE
    with contextlib.suppress(OSError, ValueError):
        if int(path.read_text(encoding="ascii")) == STOPPED:
            path.unlink()
