"""Tests against a cluster of the user's: any way of logging in, namespaces only, and only on request."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kubernetes.own_cluster import OPTION, PERMISSION
from tests.kubernetes.plane.control_plane import ControlPlane
from tests.programs import ROOT


def run(control_plane: ControlPlane, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of this folder's control plane in a process of their own, with its kubectl on PATH."""
    folder = "tests/kubernetes/test_control_plane.py"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        folder,
        OPTION,
        str(control_plane.kubeconfig),
        *options,
    ]
    path = f"{control_plane.assets.folder}:/usr/bin:/bin"
    return subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": path, "CI": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_tests_that_stay_in_a_namespace_run_on_it(control_plane: ControlPlane) -> None:
    before = {one["metadata"]["uid"] for one in control_plane.api.list("v1", "Namespace")}
    done = run(control_plane, PERMISSION)
    assert "3 passed" in done.stdout, done.stdout + done.stderr
    assert "changes more than a namespace of its own" in done.stdout
    left = [
        one["metadata"]["name"]
        for one in control_plane.api.list("v1", "Namespace")
        if one["metadata"]["uid"] not in before and "deletionTimestamp" not in one["metadata"]
    ]
    assert not left


def test_nothing_runs_on_it_unasked(control_plane: ControlPlane) -> None:
    done = run(control_plane)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"say {PERMISSION} if they may" in done.stderr


def test_a_kubeconfig_that_is_none_is_an_error_of_kubectl(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    absent = tmp_path / "absent"
    done = run(control_plane, PERMISSION, OPTION, str(absent))
    assert f"stat {absent}: no such file or directory" in done.stdout
