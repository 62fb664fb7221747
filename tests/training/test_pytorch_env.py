"""pytorch-env for real: two ranks over gloo by the local script, alike and different; the checks of GPUs by values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.instances import instance
from catalog.reference_types import CPU, GPU, NEURON
from catalog.versions import NCCL, TORCH
from tests.programs import ROOT, require_module
from tests.training.runs import LocalRun

require_module("torch", "make setup-train installs it")

PROGRAM = ROOT / "workloads" / "pytorch_env" / "report_environment.py"
sys.path += [str(PROGRAM.parent), str(ROOT / "workloads" / "runtime")]

# Each rank has another value of a variable, as where one node's profile sets it.
DIFFERENT = """
import os, runpy, sys
os.environ["NCCL_ALGO"] = ["Tree", "Ring"][int(os.environ["RANK"])]
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


# torch counts a GPU that has fallen off the bus, and fails when it is asked about it.
LOST = """
import os, runpy, sys, torch
def gone(device):
    raise RuntimeError("CUDA error: unspecified launch failure\\nCompile with TORCH_USE_CUDA_DSA")
if os.environ["RANK"] == "1":
    torch.cuda.is_available, torch.cuda.device_count = lambda: True, lambda: 8
    torch.cuda.nccl.version, torch.cuda.get_device_properties = lambda: (2, 30, 0), gone
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.proof("pytorch-env", "local", "executed")
def test_ranks_that_are_alike_pass(artifacts: Callable[[str], Path]) -> None:
    run = LocalRun("pytorch-env", "tiny", artifacts("pytorch-env"), "--instance-type", CPU)
    assert run.run() == 0, run.log
    assert "verdict over 2 ranks: 0 failed" in run.log
    report = json.loads((run.run_folder / "environment.json").read_text())
    import torch

    assert report["passed"]
    assert [values["torch"] for values in report["ranks"]] == [torch.__version__] * 2
    assert {check["name"] for check in report["checks"]} >= {"instance type", "gloo"}


@pytest.mark.parametrize("kind", ["x1.nothing", GPU])
def test_an_unknown_type_and_missing_gpus_fail_finally(kind: str, artifacts: Callable[[str], Path]) -> None:
    run = LocalRun("pytorch-env", "tiny", artifacts(f"pytorch-env-{kind[:2]}"), "--instance-type", kind)
    assert run.run() == 69, run.log
    if kind == GPU:
        assert "failed: GPUs at rank 0" in run.log
        assert f": 0; expected {instance(GPU).accelerators}" in run.log
    else:
        assert "failed: instance type at rank 0" in run.log
    assert (run.run_folder / "final_exit_code").read_text() == "69\n"


def test_a_rank_that_differs_from_the_others_is_named(tmp_path: Path) -> None:
    script = tmp_path / "different.py"
    script.write_text(DIFFERENT)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words += [str(script), str(PROGRAM), "--instance-type", CPU]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "workloads" / "runtime"),
        "RUN_FOLDER": str(tmp_path / "run"),
    }
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "failed: equal NCCL_ALGO at rank 1: Ring; expected Tree, as of other ranks" in done.stdout
    assert "verdict over 2 ranks: 1 failed" in done.stdout
    done = subprocess.run(
        [*words, "--json", "--allow-different", "NCCL_ALGO"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1]
    assert [values["NCCL_ALGO"] for values in json.loads(text)["ranks"]] == ["Tree", "Ring"]


def test_a_rank_without_its_gpu_is_reported_by_the_others(tmp_path: Path) -> None:
    script = tmp_path / "lost.py"
    script.write_text(LOST)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words += [str(script), str(PROGRAM), "--instance-type", CPU]
    runtime, folder = str(ROOT / "workloads" / "runtime"), tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": runtime, "RUN_FOLDER": str(folder)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert "failed: environment at rank 1 on" in done.stdout, done.stderr
    assert "RuntimeError: CUDA error: unspecified launch failure; expected values" in done.stdout
    assert "verdict over 2 ranks: 1 failed" in done.stdout
    assert "exitcode  : 69" in done.stderr
    assert not json.loads((folder / "environment.json").read_text())["passed"]


def values(**changed: Any) -> dict[str, Any]:
    """Return the values of a healthy rank with GPUs, as torch would tell them."""
    facts = instance(GPU)
    assert facts.accelerator
    healthy = {
        "rank": 3,
        "host": "gpu-1",
        "CUDA works": True,
        "GPUs": facts.accelerators,
        "NCCL": "2.30.0",
        "cuDNN": 91900,
        "gloo": True,
        "GPU memory MiB": facts.accelerator.memory_mib * 99 // 100,
        "Neuron devices": 0,
        "torch-neuronx": None,
        "neuronx-cc": None,
    }
    return healthy | changed


@pytest.mark.parametrize(
    ("kind", "changed", "failed"),
    [
        (GPU, {}, []),
        (GPU, {"GPUs": 7}, ["GPUs"]),
        (GPU, {"CUDA works": False, "NCCL": None}, ["CUDA works", "NCCL"]),
        (GPU, {"cuDNN": None}, ["cuDNN"]),
        (GPU, {"GPU memory MiB": 40960}, ["GPU memory MiB"]),
        (NEURON, {"Neuron devices": 15}, ["Neuron devices", "torch-neuronx", "neuronx-cc"]),
        (NEURON, {"Neuron devices": 16, "torch-neuronx": "2", "neuronx-cc": "2"}, []),
        (CPU, {"gloo": False}, ["gloo"]),
    ],
)
def test_values_are_compared_with_the_catalog(kind: str, changed: dict[str, Any], failed: list[str]) -> None:
    from environment_report import check_rank
    from health.instance_type import expected

    checks = check_rank(values(**changed), expected(kind), kind, None, 1)
    assert [check.name for check in checks if not check.holds] == failed


def test_versions_are_compared_with_the_lock() -> None:
    from environment_report import check_software

    locked = {"torch": f"{TORCH}+cu130", "CUDA": "13.0", "NCCL": str(NCCL), "NVIDIA driver": "595.112.07"}
    assert list(check_software(values(**locked), "rank 3 on gpu-1")) == []
    other = {**locked, "NCCL": "2.27.5", "NVIDIA driver": "570.172.08"}
    found = list(check_software(values(**other), "rank 3 on gpu-1"))
    assert [check.name for check in found] == ["locked NCCL", *["versions work together"] * 2]
    assert "torch 2.11.0+cu130, CUDA 13.0, NCCL 2.27.5" in found[1].value.replace("NCCL 2.27.5, CUDA", "CUDA")
    assert "NVIDIA driver must be 580 or newer" in found[2].value


def test_efa_and_the_plugin_are_asked_for_on_several_nodes() -> None:
    from environment_report import check_rank
    from health.instance_type import expected

    checks = {check.name: check for check in check_rank(values(), expected(GPU), GPU, None, 2)}
    assert not checks["EFA provider"].holds
    assert "32 EFA interfaces expected, the node has 0" in checks["EFA provider"].value
    assert not checks["OFI plugin"].holds
    assert "EFA provider" not in {check.name for check in check_rank(values(), expected(GPU), GPU, 0, 2)}
