"""Reuse of a synthesis by the CDK CLI of tests: it gets the stored result, and only if nothing has changed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.reused_synthesis import app_command

APP = """\
import os, pathlib, sys
out = pathlib.Path(os.environ["CDK_OUTDIR"])
out.mkdir(exist_ok=True)
runs = pathlib.Path(os.environ["RUNS"])
runs.write_text(runs.read_text() + "x")
(out / "manifest.json").write_text("assembly " + str(len(runs.read_text())))
print("configuration", pathlib.Path.cwd() / "config" / "default.yaml", file=sys.stderr)
sys.exit(int(os.environ.get("CODE", "0")))
"""


class Project:
    """A project whose app.py counts its runs."""

    def __init__(self, folder: Path, memory: Path) -> None:
        self.folder, self.out, self.memory = folder, folder / "cdk.out", memory
        (folder / "config").mkdir(parents=True)
        (folder / "app.py").write_text(APP)
        (folder / "config" / "default.yaml").write_text("name: demo\nprogram: extra.sh\n")
        (folder / "config" / "extra.sh").write_text("one")
        self.runs = memory.parent / "runs"
        self.runs.touch()

    def synthesize(
        self, context: Mapping[str, object] | None = None, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run the program as the CLI does."""
        variables = {
            "CDK_OUTDIR": str(self.out),
            "CDK_CONTEXT_JSON": json.dumps(context or {}),
            "RUNS": str(self.runs),
            "CODE": str(code),
        }
        return subprocess.run(
            shlex.split(app_command(self.memory)),
            cwd=self.folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def count(self) -> int:
        """The number of runs of app.py."""
        return len(self.runs.read_text())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", tmp_path / "memory")


def test_an_unchanged_app_is_synthesized_once_and_printed_each_time(project: Project, tmp_path: Path) -> None:
    first = project.synthesize()
    (project.out / "old.json").touch()
    (project.out / "read.1.lock").touch()
    again = project.synthesize({"aws:cdk:bundling-stacks": ["A"]})
    assert (first.returncode, first.stderr) == (again.returncode, again.stderr)
    assert str(project.folder) in again.stderr
    assert {path.name for path in project.out.iterdir()} == {"manifest.json", "read.1.lock"}
    elsewhere = Project(tmp_path / "elsewhere", project.memory)
    told = elsewhere.synthesize().stderr
    assert str(elsewhere.folder) in told
    assert (elsewhere.out / "manifest.json").read_text() == "assembly 1"
    assert project.count == 1


@pytest.mark.parametrize("changed", ["config/default.yaml", "config/extra.sh", "app.py", "stacks/new.py"])
def test_a_changed_file_is_synthesized(project: Project, changed: str) -> None:
    project.synthesize()
    path = project.folder / changed
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + "# changed\n")
    project.synthesize()
    assert project.count == 2
    assert (project.out / "manifest.json").read_text() == "assembly 2"


def test_the_default_configuration_by_its_name_is_the_same(project: Project) -> None:
    project.synthesize()
    project.synthesize({"config": "config/default.yaml"})
    assert project.count == 1


def test_another_configuration_is_synthesized(project: Project) -> None:
    (project.folder / "config" / "team.yaml").write_text("name: demo\nprogram: extra.sh\n")
    project.synthesize()
    project.synthesize({"config": "config/team.yaml"})
    assert project.count == 2


def test_a_failure_is_reported_and_not_stored(project: Project) -> None:
    failed = project.synthesize(code=2)
    assert failed.returncode == 2
    assert "configuration" in failed.stderr
    assert not project.out.exists()
    assert project.synthesize().returncode == 0
    assert project.count == 2
