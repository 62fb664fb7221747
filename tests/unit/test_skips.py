"""Skips in continuous integration: one that is not on the list fails, and so does one of a proof."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.skips import objection

HEAVY = "heavy; runs with --all"
PYTHON = "no Python 3.9 is installed"
MODULE = f"""
import pytest

def test_listed():
    pytest.skip("{PYTHON}")

@pytest.mark.skipif(True, reason="nobody knows why")
def test_unlisted():
    pass

@pytest.mark.proof("workload", "slurm", "executed")
def test_proof():
    pytest.skip("{PYTHON}")

def test_that_passes():
    pass

@pytest.mark.xfail(reason="known")
def test_expected():
    assert False
"""
WHOLE = "import pytest\n\npytest.skip('nobody knows why', allow_module_level=True)\n"


@pytest.mark.parametrize(
    ("reason", "proof", "everything", "said"),
    [
        (HEAVY, False, False, ""),
        (HEAVY, True, False, ""),
        (HEAVY, True, True, "named as a proof"),
        (PYTHON, False, True, ""),
        (PYTHON, True, False, "named as a proof"),
        ("program 'x' is not installed", False, True, "does not allow it"),
    ],
)
def test_what_is_objected_to(reason: str, proof: bool, everything: bool, said: str) -> None:
    found = objection(reason, proof=proof, everything=everything)
    assert said in found if said else found == ""


@pytest.mark.parametrize(
    ("ci", "ending"),
    # What is skipped before it is called, and a module, count as errors.
    [
        ("true", "1 failed, 1 passed, 1 skipped, 1 xfailed, 2 errors"),
        ("", "1 passed, 4 skipped, 1 xfailed"),
    ],
)
def test_a_run_in_ci_and_one_at_home(tmp_path: Path, ci: str, ending: str) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = proof\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n", encoding="utf-8")
    (tmp_path / "test_some.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "test_whole.py").write_text(WHOLE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--continue-on-collection-errors", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{ROOT / 'constructs'}", "CI": ci},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == (1 if ci else 0), done.stdout
    assert ending in done.stdout.splitlines()[-1]
    assert ("does not allow it in CI: Skipped: nobody knows why" in done.stdout) is bool(ci)
