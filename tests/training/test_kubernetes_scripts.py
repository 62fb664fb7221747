"""cpu-ddp by the scripts of its Kubernetes manifests, for real: two pods' processes on this machine, over gloo.

Patched for it: the image's folders and the shared file system are folders here, and what the operator would set
in a pod is set by the test, at loopback.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.site import Mount
from tests.programs import ROOT, require_module, search_path
from tests.training.runs import DEADLINE_SECONDS, free_port
from tests.unit.rendering import RENDERERS, pods, read, script, site
from workloads import entry
from workloads.rooms import workload
from workloads.spec import Format, Run

require_module("torch", "make setup-train installs it")

NODES = 2


def operators(format_: Format, node: int, port: int) -> dict[str, str]:
    """Return what the operator sets in the pod of a node (its sources are named in tests/unit/test_render_scripts)."""
    if format_ is Format.PYTORCHJOB:
        return {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "RANK": str(node),
            "WORLD_SIZE": str(NODES),
        }
    return {
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": str(port),
        "PET_NODE_RANK": str(node),
        "PET_NNODES": str(NODES),
        "PET_NPROC_PER_NODE": "1",
    }


@pytest.mark.proof("cpu-ddp", "pytorchjob", "run here, patched")
@pytest.mark.proof("cpu-ddp", "trainjob", "run here, patched")
@pytest.mark.parametrize("format_", [Format.PYTORCHJOB, Format.TRAINJOB], ids=str)
def test_two_pods_train_together(format_: Format, artifacts: Callable[[str], Path]) -> None:
    folder = artifacts(f"cpu-ddp-{format_}")
    room = workload("cpu-ddp")
    preset = room.presets["tiny"]
    where = site(
        format_,
        images={room.name: "registry.example/cpu-ddp:1"},
        mounts=(Mount(str(folder), "lustre", "fs-0123456789abcdef0"),),
    )
    manifest = RENDERERS[format_](Run(room, preset, preset.instance_type, NODES), where)
    (folder / "manifest.yaml").write_text(manifest, encoding="utf-8")
    text = script(list(pods(read(manifest)))[-1][1])
    for inside, here in ((entry.PROGRAM_FOLDER, room.room), (entry.RUNTIME_FOLDER, "base/runtime")):
        assert inside in text
        text = text.replace(inside, str(ROOT / "workloads" / here))
    port = free_port()
    environment = {**os.environ, "PATH": search_path(), "RUN_ID": room.name}
    processes = [
        subprocess.Popen(
            ["/bin/bash", "-c", text],
            env={**environment, **operators(format_, node, port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for node in range(NODES)
    ]
    try:
        logs = [process.communicate(timeout=DEADLINE_SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(logs)
    lines = [line for line in logs[0].splitlines() if re.fullmatch(room.progress.pattern, line)]
    assert len(lines) == 60
    losses = [float(re.search(r"loss=(\S+)", line)[1]) for line in lines]  # type: ignore[index]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert "starting: ranks=2" in logs[0]
    assert (folder / "runs" / room.name / room.name).is_dir()
