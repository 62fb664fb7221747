"""The local script on a machine that is not of the preset's instance type: it takes the GPUs that are there."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cli.cluster_info import local_info
from workloads import registry
from workloads.render.local import local
from workloads.spec import Run


def started(folder: Path, preset: str, listed: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script where nvidia-smi lists so many GPUs; the guard and torchrun print what they are asked for."""
    workload = registry.workload("fsdp")
    run = Run.on_type(workload, workload.presets[preset], workload.presets[preset].instance_type, 1)
    (folder / "bin").mkdir()
    lines = "\n".join(f"GPU {number}: H100" for number in range(listed))
    for name, text in (
        ("nvidia-smi", f"echo -n '{lines}{chr(10) if listed else ''}'"),
        ("python3", 'echo "$@"'),
        ("torchrun", 'echo "$@"'),
    ):
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (folder / "bin" / name).chmod(0o755)
    path = {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "MASTER_PORT": "29500"}
    info = replace(local_info(folder), virtual_environment="")
    return subprocess.run(
        ["bash", "-c", local(run, info)],
        env={**os.environ, **path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("listed", "environment", "count"), [(1, {}, 1), (4, {}, 4), (4, {"TRAINFORGE_GPUS": "2"}, 2)]
)
def test_a_gpu_preset_takes_the_gpus_of_this_machine_and_no_efa(
    tmp_path: Path, listed: int, environment: dict[str, str], count: int
) -> None:
    done = started(tmp_path, "llama3-1-8b", listed, **environment)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert f"--accelerators={count}" in words
    assert f"--nproc-per-node={count}" in words
    assert "--efa=0" in words
    assert "--model=llama3-1-8b" in words
    # The peak of another GPU than the preset's would make a wrong MFU.
    assert not any(word.startswith("--peak-tflops") for word in words)


def test_without_a_gpu_a_gpu_preset_ends_with_a_message(tmp_path: Path) -> None:
    done = started(tmp_path, "llama3-1-8b", 0)
    assert done.returncode == 69
    assert done.stderr == "error: nvidia-smi lists no GPU here, and this preset needs one\n"
    assert done.stdout == ""


def test_a_preset_for_processors_asks_for_no_gpu(tmp_path: Path) -> None:
    done = started(tmp_path, "tiny", 0)
    assert done.returncode == 0, done.stderr
    assert "--nproc-per-node=1" in done.stdout.split()
