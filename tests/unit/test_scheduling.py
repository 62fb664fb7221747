"""The scheduling of tests over processes: those of a module, and of a shared deployment, stay together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import ROOT, require_module
from tests.scheduling import APART, group

MODULE = """
import os, time
import pytest

@pytest.mark.parametrize("number", [{{letter * n for letter in "abcdef"}} for n in range(1, 5)], ids=str)
def test(number{fixture}):
    print("seen by", os.getpid())
    time.sleep(0.05)
"""
CONFTEST = """
from tests.conftest import *

@pytest.fixture(scope="session")
def deployment():
    return 1
"""
ALONE = "unit/test_alone"
SHARING = ("deploy/test_deploy_network", "deploy/test_deploy_storage")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of three modules, two of which share a deployment."""
    for name in (ALONE, *SHARING):
        path = tmp_path / "tests" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MODULE.format(fixture=", deployment" if name in SHARING else ""), encoding="utf-8")
    (tmp_path / "tests" / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return tmp_path


def run(project: Path, *options: str, code: int = 0) -> str:
    """Run the project's tests with our options and return what pytest prints; it must end with `code`."""
    require_module("xdist", "make setup installs it")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--numprocesses=2", "-v", *options, "tests"],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{ROOT / 'constructs'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code != 4 else done.stderr


def test_groups_stay_together_and_the_closing_line_is_the_ordinary_one(project: Path) -> None:
    output = run(project)
    places: dict[str, set[str]] = {}
    for worker, module in re.findall(r"\[(gw\d)\].* PASSED tests/(\S+)\.py", output):
        places.setdefault(module, set()).add(worker)
    assert places.keys() == {ALONE, *SHARING}
    assert all(len(workers) == 1 for workers in places.values()), places
    assert places[SHARING[0]] == places[SHARING[1]] != places[ALONE]
    assert re.fullmatch(r"=+ 12 passed in [\d.]+s =+", output.splitlines()[-1])


def test_a_module_outside_the_group_of_its_fixture_is_an_error(project: Path) -> None:
    source = (project / "tests/deploy/test_deploy_network.py").read_text(encoding="utf-8")
    (project / "tests/deploy/test_new.py").write_text(source, encoding="utf-8")
    output = run(project, "--numprocesses=0", code=4)
    assert "tests/deploy/test_new.py uses the fixture 'deployment'" in output


def test_without_capture_everything_runs_and_prints_in_one_process(project: Path) -> None:
    output = run(project, "-s")
    assert len(set(re.findall(r"seen by (\d+)", output))) == 1
    assert output.count("seen by") == 12
    assert "[gw" not in output


def test_a_test_that_hangs_in_a_worker_is_ended(project: Path) -> None:
    require_module("pytest_timeout", "make setup installs it")
    (project / "tests/unit/test_hung.py").write_text(
        "import time\n\ndef test_hung():\n    time.sleep(600)\n", encoding="utf-8"
    )
    output = run(project, "--timeout=2", code=1)
    assert "Failed: Timeout (>2.0s) from pytest-timeout." in output
    assert re.search(r"1 failed, 12 passed in [\d.]+s", output.splitlines()[-1])


@pytest.mark.parametrize("module", sorted(APART))
def test_modules_apart_do_not_use_the_cluster_of_their_folder(module: str) -> None:
    assert "eks_cluster" not in (ROOT / module).read_text(encoding="utf-8")
    assert group(f"{module}::test") != group("tests/kubernetes/test_queues.py::test")
