"""The message of the demo where no control plane can run, and what the emulator gets where one can."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from emulator.cdk import ROOT
from settings.loaded_config import read
from tests.demo import demo, kubernetes_demo
from tests.kubernetes.plane.assets import CONTROL_PLANE, CONTROLLERS, VARIABLE
from tests.programs import require_program

CONFIGURATION = "config/eks.yaml"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a file in the place of each program, as the variable names it."""
    for name in CONTROL_PLANE + CONTROLLERS:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def test_with_programs_and_root_nothing_is_missing(programs: Path) -> None:
    require_program("aws", "requirements-dev.txt brings it")
    require_program("ip", "Debian's iproute2 brings it")
    assert kubernetes_demo.missing() == ""


def test_without_the_variable_it_is_named(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    assert kubernetes_demo.missing() == (
        "the variable KUBEBUILDER_ASSETS names no folder of Kubernetes programs "
        "(docs/kubernetes-tests.md says how to fill one)"
    )


def test_absent_programs_are_named(programs: Path) -> None:
    (programs / "kueue-manager").unlink()
    (programs / "etcd").unlink()
    assert "has no program etcd, kueue-manager; docs/kubernetes-tests.md" in kubernetes_demo.missing()


def test_without_root_the_message_names_the_steps_that_need_it(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert kubernetes_demo.missing() == (
        "this user is not root, which Kueue's certificate and nodes whose pods are processes take"
    )


@pytest.mark.parametrize(
    ("configuration", "lines"),
    [(CONFIGURATION, 1), ("config/hyperpod-eks.yaml", 1), ("config/default.yaml", 0)],
)
def test_without_programs_the_demo_reports_it_in_a_line_and_does_the_rest(
    configuration: str,
    lines: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    require_program("cdk", "'make setup' installs it")
    monkeypatch.delenv(VARIABLE, raising=False)
    done: list[Path] = []

    def run(_console: Any, file: Path, *_rest: Any) -> bool:
        done.append(file)
        return False

    monkeypatch.setattr(demo, "run", run)
    assert demo.main(["--config", str(ROOT / configuration), "--keep", str(tmp_path)]) == 0
    assert done == [ROOT / configuration]
    told = [line for line in capsys.readouterr().out.splitlines() if VARIABLE in line]
    assert len(told) == lines
    assert all(
        line.startswith("no Kubernetes: the variable KUBEBUILDER_ASSETS names no folder") for line in told
    )


def test_nodes_are_those_of_the_pools_and_processors_run_pods(programs: Path, tmp_path: Path) -> None:
    settings = read(ROOT / CONFIGURATION).settings
    assert settings is not None
    _, options = kubernetes_demo.control_planes(settings, tmp_path / "demo")
    assert set(options["nodes"]) == {"gpu", "trainium", "cpu", "system"}
    assert options["process_pools"] == ["cpu"]
    assert options["nodes"]["gpu"]["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    image = Path(options["images"]["*"]) / "opt" / "trainforge"
    assert (image / "workload" / "train.py").is_file()
    assert (image / "runtime" / "launch_guard.py").is_file()
