"""The exit codes of a node, and those of them that are final."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

USAGE = 2
"""The command line or the environment is wrong (argparse's, and training/errors.py)."""

UNAVAILABLE = 69
"""The node lacks something (EX_UNAVAILABLE of sysexits.h)."""

WRONG_FABRIC = 76
"""NCCL uses another network than expected, or does not log which (EX_PROTOCOL of sysexits.h)."""

LOST_NODE = 79
"""The job lost a node, or one never started: start it again. No program of ours ends with it by itself."""

STALLED = 80
"""The run made no progress and was ended: start it again. No code of sysexits.h, which end at 78."""

MISSED = 81
"""The program ended well and missed a criterion of its workload, a slow benchmark for example. No code of sysexits.h.
"""

UNHEALTHY = 82
"""The node has a fault, and its host is terminated: start the job elsewhere (node_health.py). No code of sysexits.h."""

UNHEALTHY_OTHER = 83
"""Another node of the job has a fault: start it again. A code of its own, by which this host is not terminated."""

FINAL = frozenset({USAGE, 65, 66, UNAVAILABLE, 74, WRONG_FABRIC, MISSED, 126, 127})
"""Codes that the same start would end with again: a wrong command line, a loss that is not finite, missing input, what
the guard refuses, a checkpoint that cannot be written (training/errors.py), a criterion that is missed, a program that
cannot be started."""

STOPPED = 75
"""The exit code of ranks that have saved and stopped after a signal (training/errors.py): no failure."""

TOLD = frozenset({USAGE, 65, 66, UNAVAILABLE, 74, STOPPED})
"""Codes with which a program of ours ends by its own decision, after a line with the reason (training/errors.py)."""

FINAL_FILE = "final_exit_code"
"""File in the run's folder with the exit code of a final failure, which another start would only repeat."""


def of_ranks(code: int, codes: Iterable[int | None]) -> int:
    """Return the exit code of a program that failed with `code`: the code that its ranks reported if that is final.

    `codes` has None for a rank that reported nothing, a killed one for example.
    """
    codes = list(codes)
    final = [one for one in codes if one is not None and one in FINAL]
    if final:
        return final[0]
    return STOPPED if codes and set(codes) == {STOPPED} else code


def of_process(code: int) -> int:
    """Return a process's exit code as a shell reports it: 128 and the number if a signal ended it."""
    return code if code >= 0 else 128 - code


def keep(code: int, logs: Path) -> None:
    """Write down a code that another start would only repeat; the first node's counts."""
    if code in FINAL or code == STOPPED:
        with contextlib.suppress(OSError), (logs.parent / FINAL_FILE).open("x", encoding="ascii") as file:
            file.write(f"{code}\n")


def forget_stop(logs: Path) -> None:
    """Remove the file of an earlier start that stopped after a signal: HyperPod resumes a step within the same job.

    What another node's guard of this very start may have written meanwhile stays: no guard writes STOPPED so early.
    """
    path = logs.parent / FINAL_FILE
    with contextlib.suppress(OSError, ValueError):
        if int(path.read_text(encoding="ascii")) == STOPPED:
            path.unlink()
