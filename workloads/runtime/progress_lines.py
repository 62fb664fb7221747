"""The metrics in a program's lines of progress: the named groups of a regular expression, as numbers.

What schedulers put before a line is taken off first: srun's label (`0: `), kubectl's `[pod/NAME/CONTAINER] ` and
timestamps, mpirun's `[1,0]<stdout>: `, torchrun's `[default0]:`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

_PREFIX = re.compile(
    r"""\s*(?:
        [0-9]+:\s                               # srun --label
      | \[pod/[^\]\s]+\]\s                      # kubectl logs --prefix
      | [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9:]{4,6})\s   # kubectl logs --timestamps
      | \[[0-9]+,[0-9]+\](?:<[a-z:]+>)?:\s?     # mpirun --tag-output: job and rank
      | \[[a-z_-]*[0-9]+\]:\s?                  # torchrun, after the role and the local rank
    )""",
    re.VERBOSE,
)


_FACTORS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def bare(line: str) -> str:
    """Return a line as the program printed it, without what schedulers and launchers have put before it."""
    while found := _PREFIX.match(line):
        line = line[found.end() :]
    return line


def values(line: str, pattern: re.Pattern[str]) -> dict[str, float] | None:
    """Return the metrics of a line; None where it is no line of progress.

    A group that took no part, or that holds no number, is left out. Thousands may be separated by commas, and K, M, B
    and T after a number multiply it.
    """
    found = pattern.search(bare(line)) or pattern.search(line)
    if found is None:
        return None
    metrics = {}
    for name, text in found.groupdict().items():
        with contextlib.suppress(ValueError):
            metrics[name] = _number(text or "")
    return metrics


def _number(text: str) -> float:
    factor = _FACTORS.get(text[-1:], 1)
    return float((text[:-1] if factor > 1 else text).replace(",", "")) * factor


def matching(log: str | Iterable[str], pattern: str) -> Iterator[dict[str, float]]:
    """Yield the metrics of each line of progress in a log, a text or lines, in order."""
    compiled = re.compile(pattern)
    for line in log.splitlines() if isinstance(log, str) else log:
        metrics = values(line.rstrip("\r\n"), compiled)
        if metrics is not None:
            yield metrics


def series(log: str | Iterable[str], pattern: str) -> dict[str, list[float]]:
    """Return the values of each metric in a log, in order; one that no line tells has none."""
    found: dict[str, list[float]] = {name: [] for name in re.compile(pattern).groupindex}
    for metrics in matching(log, pattern):
        for name, value in metrics.items():
            found[name].append(value)
    return found
