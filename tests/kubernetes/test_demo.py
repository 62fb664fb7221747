"""The demo on a real control plane, as a stranger runs it: its output, its end, and what it leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.demo.command import DEMO
from tests.kubernetes.plane.assets import VARIABLE, Assets
from tests.processes import naming, wait_for
from tests.programs import ROOT, require_module, require_program, require_root

CONFIGURATION = "config/eks.yaml"
MAX_LINES = 25


def environment(assets: Assets) -> dict[str, str]:
    """Return what the demo needs, or skip the test."""
    require_root("Kueue's certificate")
    require_program("cdk", "'make setup' installs it")
    require_program("aws", "'make setup-dev' installs it")
    require_module("torch", "'make setup-train' installs it")
    return {**os.environ, VARIABLE: str(assets.folder)}


def run_demo(configuration: str, folder: Path, assets: Assets, app: str) -> subprocess.CompletedProcess[str]:
    """Run the demo of a configuration to its end."""
    command = [*DEMO, "--config", configuration, "--keep", str(folder), "--app", app]
    return subprocess.run(
        command, cwd=ROOT, env=environment(assets), capture_output=True, text=True, check=False
    )


def left_on_the_machine(folder: Path) -> list[str]:
    """Return programs and mounts that name a folder, and what is in the folder of the control planes."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    return [*naming(folder), *mounts, *map(str, (folder / "clusters").glob("*"))]


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_the_demo_runs_a_job_on_a_real_control_plane(tmp_path: Path, assets: Assets, cdk_app: str) -> None:
    done = run_demo(CONFIGURATION, tmp_path, assets, cdk_app)
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout
    for pattern in (
        r"cluster eks-eks: Kubernetes v1\.\d+\.\d+; nodes cpu: 2, gpu: 2, system: 2, trainium: 2",
        r"access role researchers \(edit in training\); without an access entry: .*Unauthorized",
        r"running 2 pods: Running on cpu-\d, Running on cpu-\d",
        r"killed rank 1 with SIGKILL",
        r"resumed kubectl logs: resuming after step \d+ of 600",
        r"ended exit code 0 .*step=600",
        r"nothing else of the deployment is left",
    ):
        assert re.search(pattern, told), f"{pattern} in\n{told}"
    assert len(told.splitlines()) <= MAX_LINES
    killed, resumed = (
        re.search(p, told) for p in (r"checkpoint of step (\d+)", r"resuming after step (\d+)")
    )
    assert killed
    assert resumed
    assert int(resumed[1]) >= int(killed[1])
    assert left_on_the_machine(tmp_path) == []


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_hyperpod_s_cluster_has_a_control_plane_and_reports_missing_parts(
    tmp_path: Path, assets: Assets, cdk_app: str
) -> None:
    done = run_demo("config/hyperpod-eks.yaml", tmp_path, assets, cdk_app)
    told = done.stdout
    assert done.returncode == 0, told + done.stderr
    for pattern in (
        r"not installed HyperPodHelmChart: KUBEBUILDER_ASSETS's folder has no objects of these charts",
        r"cluster hpeks-hyperpod-eks: Kubernetes v1\.\d+\.\d+; nodes gpu: 4, small: 4, system: 2",
        r"no job the demo launches one on Amazon EKS",
        r"nothing else of the deployment is left",
    ):
        assert re.search(pattern, told), f"{pattern} in\n{told}"
    assert len(told.splitlines()) <= MAX_LINES
    assert left_on_the_machine(tmp_path) == []


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_the_demo_that_is_interrupted_leaves_nothing(tmp_path: Path, assets: Assets) -> None:
    # A cluster and what it cannot be without.
    configuration = tmp_path / "eks.yaml"
    whole = yaml.safe_load((ROOT / CONFIGURATION).read_text(encoding="utf-8"))
    parts = {key: whole[key] for key in ("name", "region", "availability_zones", "pools", "eks")}
    configuration.write_text(yaml.safe_dump(parts), encoding="utf-8")
    command = [*DEMO, "--config", str(configuration), "--keep", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(assets), stdout=subprocess.PIPE, text=True
    ) as process:
        # In the middle of the deployment: the nodes of the first group are about to start.
        wait_for(lambda: any((tmp_path / "clusters").glob("*/nodes/*/node.json")), seconds=300)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        output = process.stdout.read()
        assert process.wait(120) == 130
    assert "nothing is left running" in output
    assert left_on_the_machine(tmp_path) == []
