"""A thing of the machine that several programs use: the last one removes it, however the others ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.kubernetes.plane.shared_use import SharedUse
from tests.programs import ROOT

HOLDER = """
import sys, time
from pathlib import Path
from tests.kubernetes.plane.shared_use import SharedUse
use = SharedUse(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_the_last_use_removes_the_thing(tmp_path: Path) -> None:
    lock, removed = tmp_path / "lock", []
    first, second = SharedUse(lock), SharedUse(lock)
    first.end(lambda: removed.append("first"))
    assert removed == []
    second.end(lambda: removed.append("second"))
    assert removed == ["second"]
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_was_killed_uses_nothing(tmp_path: Path) -> None:
    lock, removed = tmp_path / "lock", []
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        SharedUse(lock).end(lambda: removed.append("early"))
        assert removed == []
        holder.kill()
    SharedUse(lock).end(lambda: removed.append("late"))
    assert removed == ["late"]
