"""Steps of setting a node up, run one after the other; a step that fails stops none of the others."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence

from .node import Node, StepError

Step = tuple[str, Callable[[], object]]
"""A step's name, and what it does: it returns when the node is as configured, and raises StepError otherwise."""


def perform(node: Node, steps: Sequence[Step], log: str) -> list[str]:
    """Do every step, and return a line for each that failed; the last thing logged are those lines and the counts.

    `log` is where what was said can be read again.
    """
    started = time.monotonic()
    failures: list[str] = []
    for name, step in steps:
        node.step = name
        node.log("begins")
        failure = _failure(node, step)
        if failure is not None:
            failures.append(f"failed: step '{name}': {failure.reason}; log: {log}; next: {failure.next_step}")
            node.log(f"failed: {failure.reason}")
    node.step = "end"
    for line in failures:
        node.log(line)
    seconds = time.monotonic() - started
    node.log(f"steps={len(steps)} changed={node.changes} failed={len(failures)} seconds={seconds:.1f}")
    return failures


def _failure(node: Node, step: Callable[[], object]) -> StepError | None:
    try:
        step()
    except StepError as error:
        return error
    except OSError as error:
        return StepError(f"{type(error).__name__}: {error}", "see that the file system is there and writable")
    except Exception as error:  # A mistake of ours in one step must not keep the others from being done.
        for line in traceback.format_exc().splitlines():
            node.log(f"  {line}")
        return StepError(f"{type(error).__name__}: {error}", "report this with the log: it is a bug")
    return None
