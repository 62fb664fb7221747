"""The oldest Python of an image: what images run needs nothing newer."""

from __future__ import annotations

import subprocess

from tests.programs import ROOT, require_program
from workloads import registry

OLDEST = "3.10"
"""That of Ubuntu 22.04, which the bases for processors and CUDA are, and of BioNeMo's image 1.2."""


def test_programs_of_images_need_nothing_newer() -> None:
    vermin = require_program("vermin", "'make setup' installs it")
    folders = [
        ROOT / "workloads" / "runtime",
        *(ROOT / "workloads" / registry.workload(name).package for name in registry.names()),
    ]
    programs = [path for folder in folders for path in folder.rglob("*.py") if path.name != "workload.py"]
    command = [vermin, f"--target={OLDEST}-", "--no-tips", "--eval-annotations", *map(str, programs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
