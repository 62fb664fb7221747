"""Workloads by the scripts of their Kubernetes manifests, for real: two pods' processes on this machine, over gloo.

Patched for it: the image's folders and the shared file system are folders here, and what the operator would set
in a pod is set by the test, at loopback.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from catalog.cluster_info import Mount
from tests.ports import free_ports
from tests.programs import checkout, require_module, search_path
from tests.progress_log import series
from tests.training.runs import DEADLINE_SECONDS
from tests.unit.rendering import RENDERERS, info, pods, read, script
from workloads import entry, registry
from workloads.spec import Format, Run

require_module("torch", "make setup-train installs it")

NODES = 2
STEPS = 60
PATTERN = registry.workload("cpu-ddp").progress.pattern


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


# In place of HyperPod's agent, which waits for an operator: torchrun with the agent's words, told by the test what the
# operator would say. Both write the ranks' logs to attempt_0/LOCAL_RANK/stdout.log below --log-dir.
HYPERPODRUN = """\
#!/bin/bash
words=()
for word in "$@"; do
  case "$word" in --rdzv-backend=*|--server-port=*|--shutdown-*) ;; *) words+=("$word") ;; esac
done
exec torchrun --node-rank="$NODE" --master-addr=127.0.0.1 --master-port="$PORT" "${words[@]}"
"""


def train(
    name: str, format_: Format, folder: Path, operators: Callable[[int, int], dict[str, str]]
) -> tuple[dict[str, Any], list[str]]:
    """Run a workload's tiny preset as two pods; return the manifest and what each pod printed."""
    workload = registry.workload(name)
    preset = workload.presets["tiny"]
    where = info(
        format_,
        images={workload.name: f"registry.example/{name}:1"},
        mounts=(Mount(str(folder), "lustre", "fs-0123456789abcdef0"),),
    )
    manifest = RENDERERS[format_](Run.on_type(workload, preset, preset.instance_type, NODES), where)
    (folder / "manifest.yaml").write_text(manifest, encoding="utf-8")
    text = script(list(pods(read(manifest)))[-1][1])
    for inside, here in ((entry.PROGRAM_FOLDER, workload.package), (entry.RUNTIME_FOLDER, "runtime")):
        assert inside in text
        text = text.replace(inside, str(checkout() / "workloads" / here))
    port = free_ports(1)[0]
    environment = {**os.environ, "PATH": search_path(), "RUN_ID": workload.name}
    processes = [
        subprocess.Popen(
            ["/bin/bash", "-c", text],
            env={**environment, **operators(node, port)},
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
    return read(manifest), logs


@pytest.mark.proof("cpu-ddp", "pytorchjob", "executed (operator simulated)")
@pytest.mark.proof("cpu-ddp", "trainjob", "executed (operator simulated)")
@pytest.mark.parametrize("format_", [Format.PYTORCHJOB, Format.TRAINJOB], ids=str)
def test_two_pods_train_together(format_: Format, artifacts: Callable[[str], Path]) -> None:
    """Of one workload: tests/kubernetes runs all under the real operators."""
    name = "cpu-ddp"
    folder = artifacts(f"{name}-{format_}")
    _, logs = train(name, format_, folder, partial(operators, format_))
    losses = series(logs[0], PATTERN)["loss"]
    assert len(losses) == STEPS
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert re.search(r"^starting: .*\branks=2\b", logs[0], re.MULTILINE)
    assert (folder / "runs" / name / name).is_dir()
    assert not series(logs[1], PATTERN)["step"], "one pod tells of a step, unless each is watched"


@pytest.mark.parametrize("name", ["cpu-ddp", pytest.param("fsdp", marks=pytest.mark.heavy)])
def test_every_pod_prints_what_hyperpods_agent_waits_for(name: str, artifacts: Callable[[str], Path]) -> None:
    """The rules are the job's, and the agent of each pod holds its own local rank 0's standard output to them."""
    folder = artifacts(f"{name}-hyperpodpytorchjob")
    (folder / "bin").mkdir()
    agent = folder / "bin" / "hyperpodrun"
    agent.write_text(HYPERPODRUN, encoding="utf-8")
    agent.chmod(0o755)

    def operator(node: int, port: int) -> dict[str, str]:
        (folder / f"pod-{node}").mkdir()
        path = f"{folder / 'bin'}{os.pathsep}{search_path()}"
        # The operator names the pods JOB-pods-0, JOB-pods-1, ...
        return {
            "PATH": path,
            "TMPDIR": str(folder / f"pod-{node}"),
            "HOSTNAME": f"{name}-pods-{node}",
            "NODE": str(node),
            "PORT": str(port),
        }

    manifest, _ = train(name, Format.HYPERPODPYTORCHJOB, folder, operator)
    rules = manifest["spec"]["runPolicy"]["logMonitoringConfiguration"]
    assert len(rules) == 2
    for node in range(NODES):
        [log] = (folder / f"pod-{node}").glob("hyperpod/*/attempt_0/0/stdout.log")
        lines = log.read_text(encoding="utf-8").splitlines()
        for rule in rules:
            # As the agent does it: re.match, line by line (hyperpod-elastic-agent 1.1.3, log_agent.py).
            assert sum(bool(re.match(rule["logPattern"], line)) for line in lines) == STEPS
        assert any(line.startswith("starting: ") for line in lines) == (node == 0)
    [metrics] = (folder / "runs" / name).glob("*/metrics.jsonl")
    assert len(metrics.read_text(encoding="utf-8").splitlines()) == STEPS, "one rank writes"
