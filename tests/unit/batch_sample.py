"""A sample workload, and its Batch job definition taken apart."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from catalog.cluster_info import ClusterInfo
from catalog.instances import instance
from tests.programs import checkout
from workloads.entry import RUNTIME_FOLDER
from workloads.images.image import Image
from workloads.launchers import NeuronTorchrun, Torchrun
from workloads.preset import Preset
from workloads.progress import Progress
from workloads.proof import Proof, Proven
from workloads.render.batch import batch
from workloads.resources import Resources
from workloads.spec import Format, Run, Workload

CPU_TYPE = "c5.4xlarge"
GPU_TYPE = "p5.48xlarge"


def workload(**changes: Any) -> Workload:
    """Return a workload that runs on anything, with changes."""
    preset = Preset("small", "a size for tests", ("--steps=3", "--name=it's"), CPU_TYPE, 2)
    base = Workload(
        name="sample-run",
        title="a sample",
        launcher=Torchrun(),
        image=Image("cpu"),
        resources=Resources(accelerators=("gpu", "neuron", "cpu")),
        presets=MappingProxyType({preset.name: preset}),
        proofs=MappingProxyType({Format.BATCH: Proven(Proof.NONE)}),
        progress=Progress("step=(?P<step>[0-9]+)", 60, 60),
    )
    return replace(base, **changes)


def run_on(instance_type: str, nodes: int = 2, **changes: Any) -> Run:
    if instance(instance_type).has_neuron:
        changes = {"launcher": NeuronTorchrun(), **changes}
    made = workload(**changes)
    return Run.on_type(made, made.reference, instance_type, nodes)


def info(**changes: Any) -> ClusterInfo:
    return replace(ClusterInfo.example("batch", ["sample-run"]), **changes)


def definition(run: Run, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(batch(run, info(**changes)))
    return found


def container(found: dict[str, Any]) -> dict[str, Any]:
    (nodes,) = found["nodeProperties"]["nodeRangeProperties"]
    made: dict[str, Any] = nodes["container"]
    return made


def command_here(found: dict[str, Any]) -> list[str]:
    """Return the container's command with the modules of this checkout in place of the image's."""
    words: list[str] = container(found)["command"]
    return [word.replace(RUNTIME_FOLDER, str(checkout() / "workloads" / "runtime")) for word in words]


def end_tree(process: int) -> None:
    """Kill a process and all that it has started, sessions of their own included: as a host that is gone."""
    for started in [process, *_started(process)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(started, signal.SIGKILL)


def _started(process: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name in brackets: the state, then the parent.
            parent = int(path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(path.parent.name))
    found, open_ = [], [process]
    while open_:
        children = parents.get(open_.pop(), [])
        found += children
        open_ += children
    return found


def asked(found: dict[str, Any]) -> dict[str, int]:
    """Return the resource requirements by kind."""
    return {each["type"]: int(each["value"]) for each in container(found)["resourceRequirements"]}


def script_of(found: dict[str, Any]) -> str:
    shell, option, script = container(found)["command"]
    assert (shell, option) == ("/bin/bash", "-c")
    assert isinstance(script, str)
    return script
