"""Processes of this machine that tests look for, and waits for what they do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def naming(text: str | Path) -> list[str]:
    """Return the command lines of running programs that name a text, or have it in their working folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            folder = os.readlink(process / "cwd")
        except OSError:
            continue
        if str(text) in line or str(text) in folder:
            found.append(line)
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition is true; fail when it is not by then."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
