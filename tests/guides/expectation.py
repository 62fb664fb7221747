"""Comparison of a command's output with its guide, whatever ids, times and names of machines were drawn."""

from __future__ import annotations

import re
import socket
from collections import Counter

ELLIPSIS = "..."
"""The sign in a guide for output that is left out: a whole line, or a part of one."""

_VOLATILE = (
    (r"\bi-[0-9a-f]{17}\b", "INSTANCE"),
    (r"\b(fs|vpc|dra)-[0-9a-f]{8,17}\b", r"\1-ID"),
    (r"\bcluster/[a-z0-9]{12}\b", "cluster/ID"),
    (r"\b[0-9]{12}\b", "ACCOUNT"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", "TIME"),
    (r"\bip(-\d{1,3}){4}\b", "NODE"),
    (r"\b(job|-)(\s?)\d+\b", r"\1\2NUMBER"),
    (r"(SessionId: )\S+", r"\1SESSION"),
    # What CloudFormation adds to names of buckets and topics.
    (r"-[0-9A-Za-z]{12}\b", "-SUFFIX"),
)


def normalised(line: str) -> str:
    """Return a line with what differs from run to run replaced, and its blanks made one."""
    line = re.sub(rf"\b{re.escape(socket.gethostname())}\b", "NODE", line)
    for pattern, name in _VOLATILE:
        line = re.sub(pattern, name, line)
    return " ".join(line.split())


def missing(shown: list[str], printed: str) -> list[str]:
    """Return the shown lines that were not printed, each as often as it is shown, in any order.

    Order is not compared: Slurm's steps print as they come.
    """
    found = Counter(normalised(line) for line in printed.splitlines())
    absent = []
    for line in shown:
        expected = normalised(line)
        if expected in ("", ELLIPSIS):
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in expected.split(ELLIPSIS)))
        match = next((one for one, times in found.items() if times and pattern.fullmatch(one)), None)
        if match is None:
            absent.append(line)
        else:
            found[match] -= 1
    return absent
