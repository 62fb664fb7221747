"""Slurm's commands that print JSON, and how their answers spell numbers, states and GPUs.

The form is that of Slurm 24.11 (data_parser/v0.0.42), read from the answers of Debian's package.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

SECONDS = 30.0
"""Time that a command may take: our choice. slurmctld answers in milliseconds, or it has other troubles."""

COMMANDS: Mapping[str, Sequence[str]] = {
    "squeue": ("squeue", "--json"),
    "nodes": ("scontrol", "show", "nodes", "--json"),
    "sdiag": ("sdiag", "--json"),
}
"""The commands by the names that `trainforge_slurm_command_success` has them under."""

_KEYS = {"squeue": "jobs", "nodes": "nodes", "sdiag": "statistics"}
_GPUS = re.compile(r"(?:^|,)(?:gres/)?gpu(?::[^:,()]+)?[:=]([0-9]+)")


def answer(name: str) -> Any:
    """Return what a command answers: a list of jobs, a list of nodes, or statistics; None where it fails.

    The reason goes to standard error, which is the service's journal.
    """
    words = COMMANDS[name]
    try:
        done = subprocess.run(  # noqa: S603 a fixed command of Slurm's
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _failed(words, str(error))
    if done.returncode:
        return _failed(words, f"exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    try:
        # A job's name may have any bytes, and Slurm prints them as they are.
        found = json.loads(done.stdout.decode(errors="replace"))[_KEYS[name]]
    except (ValueError, KeyError, TypeError):
        return _failed(words, f"the answer is not JSON with '{_KEYS[name]}'; Slurm 24.11 or newer is needed")
    if not isinstance(found, dict if name == "sdiag" else list):
        return _failed(words, f"'{_KEYS[name]}' has another form than Slurm 24.11's")
    return found


def number(value: Any) -> float | None:
    """Return a number, which Slurm may spell as an object that says whether it is set; None where it is not."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set") and not value.get("infinite") else None
    return float(value) if isinstance(value, (int, float)) else None


def gpus(text: str) -> int:
    """Return the GPUs in a list of generic resources, such as `gpu:h100:8(S:0-1),nic:1` or `gpu:2(IDX:0-1)`."""
    return sum(int(count) for count in _GPUS.findall(text))


def _failed(words: Sequence[str], reason: str) -> None:
    sys.stderr.write(f"'{' '.join(words)}' failed: {reason}\n")
    sys.stderr.flush()
