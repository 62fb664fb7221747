"""Files of the repository as git lists them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.programs import ROOT


def tracked(*names: str) -> list[Path]:
    """Return the files of the repository below folders, by git, all without a name; without git the test is skipped."""
    done = subprocess.run(
        ["git", "ls-files", "-z", *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("these sources are no git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]
