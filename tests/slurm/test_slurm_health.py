"""gpu-health on a real Slurm: the very script that the renderer writes, on two nodes with one verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.programs import require_module
from tests.slurm.batch_jobs import BatchJob, write_script
from tests.slurm.cluster import SlurmCluster
from workloads import registry
from workloads.spec import Run

require_module("torch", "make setup-train installs it")


@pytest.fixture(scope="module")
def cluster(artifacts: Callable[[str], Path]) -> Iterator[SlurmCluster]:
    with SlurmCluster(artifacts("slurm-gpu-health"), {"cpu": ["n1", "n2"]}) as running:
        yield running


@pytest.mark.proof("gpu-health", "slurm", "executed")
@pytest.mark.parametrize(("kind", "code", "severity"), [("", 0, "ok"), ("x1.nothing", 69, "error")])
def test_two_nodes_have_one_verdict(
    cluster: SlurmCluster, artifacts: Callable[[str], Path], kind: str, code: int, severity: str
) -> None:
    workload = registry.workload("gpu-health")
    preset = workload.presets["light"]
    # This machine is no instance, and its disks are its own.
    words = ("--instance-type", kind or preset.instance_type, "--skip", "disks,kernel-log")
    preset = replace(preset, arguments=(*preset.arguments, *words))
    folder = artifacts(f"gpu-health-{severity}")
    job = BatchJob.submit(
        cluster, write_script(folder, Run.on_type(workload, preset, preset.instance_type, 2, "cpu"))
    )
    _, ended = job.end()
    assert ended == code, job.log
    assert f"verdict over 2 nodes: {severity} (" in job.log
    [summary] = (folder / "shared" / "runs" / "gpu-health").glob("*/health/summary.json")
    assert [line["rank"] for line in json.loads(summary.read_text())["nodes"]] == [0, 1]
