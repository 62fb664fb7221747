"""Machines that forbid chroot or device files: tests in a Debian root are skipped with the reason, and fail in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import ROOT, require_program, require_root

PROGRAM = """\
import sys
from pathlib import Path
from tests.machine_images.debian import require_chroot
try:
    require_chroot(Path(sys.argv[1]))
except BaseException as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.parametrize(
    ("right", "reason"),
    [
        ("sys_chroot", "chroot is not allowed here: chroot: cannot change root directory to"),
        ("mknod", "device files or chroot are not allowed here: [Errno 1] Operation not permitted"),
    ],
)
@pytest.mark.parametrize(("ci", "outcome"), [("", "Skipped"), ("true", "Failed")])
def test_a_process_without_the_right_says_so(
    tmp_path: Path, right: str, reason: str, ci: str, outcome: str
) -> None:
    """The kernel takes a right from a process of root that loses the capability before it starts."""
    require_root("taking a capability away")
    setpriv = require_program("setpriv", "install Debian's package util-linux")
    taken = [f"--bounding-set=-{right}", f"--inh-caps=-{right}"]
    done = subprocess.run(
        [setpriv, *taken, sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith(f"{outcome}: {reason}"), done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
