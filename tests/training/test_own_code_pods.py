"""Code that is shipped by itself, by the scripts of its pods, for real: it arrives late, is unpacked, and trains.

Two pods are processes of this machine, each with a temporary folder of its own; the variables of Trainer and of Batch
are set by the test.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.cluster_info import Mount
from tests.conftest import ROOT
from tests.own_wheel import write_wheel
from tests.ports import free_ports
from tests.programs import require_module, search_path
from tests.training.runs import DEADLINE_SECONDS
from tests.unit.rendering import info, pods, read, script
from workloads.code_archive import CodeArchive, code_archive
from workloads.render.all import render
from workloads.request import Request, resolve
from workloads.shipped_code import ShippedCode
from workloads.spec import Format

require_module("torch", "make setup-train installs it")

NODES = 2


def text_of(format_: Format, folder: Path) -> tuple[str, Path, CodeArchive]:
    """Return the script of a pod of a folder with requirements, and the archive that it waits for."""
    own = folder / "my-training"
    shutil.copytree(ROOT / "tests" / "own_code" / "my-training", own)
    write_wheel(own, "greeting", "TEXT = 'from the wheel'\n")
    (own / "requirements.txt").write_text("./greeting-1.0-py3-none-any.whl\n", encoding="utf-8")
    with (own / "train.py").open("a", encoding="utf-8") as program:
        program.write("import greeting\n\nprint(greeting.TEXT)\n")
    cluster = "batch" if format_ is Format.BATCH else "eks"
    run = resolve(Request(str(own), cluster, format=format_, nodes=NODES, arguments=("--lr", "0.2"))).run
    assert run
    made = code_archive(run.workload)
    archive = folder / "code" / "my-training" / made.name
    run = replace(run, code=ShippedCode(str(archive), requirements=True))
    where = info(
        format_,
        images={"my-training": "registry.example/base:1"},
        mounts=(Mount(str(folder), "lustre", "fs-0123456789abcdef0"),),
    )
    manifest = render(run, format_, where)
    if format_ is Format.BATCH:
        [nodes] = json.loads(manifest)["nodeProperties"]["nodeRangeProperties"]
        return nodes["container"]["command"][2], archive, made
    return script(list(pods(read(manifest)))[-1][1]), archive, made


def variables(format_: Format, node: int, port: int) -> dict[str, str]:
    if format_ is Format.BATCH:
        return {
            "AWS_BATCH_JOB_ID": "job" if node == 0 else f"job#{node}",
            "AWS_BATCH_JOB_ATTEMPT": "1",
            "AWS_BATCH_JOB_NODE_INDEX": str(node),
            "AWS_BATCH_JOB_NUM_NODES": str(NODES),
            "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0",
            "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS": "127.0.0.1",
        }
    return {
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": str(port),
        "PET_NODE_RANK": str(node),
        "PET_NNODES": str(NODES),
        "RUN_ID": "mine",
    }


@pytest.mark.parametrize("format_", [Format.TRAINJOB, Format.BATCH], ids=str)
def test_pods_wait_for_the_code_and_train(format_: Format, artifacts: Callable[[str], Path]) -> None:
    folder = artifacts(f"own-code-{format_}")
    text, archive, made = text_of(format_, folder)
    port = free_ports(1)[0]
    # Batch has torch's own port, which another test on this machine may have.
    text = text.replace("--master-port=29500", f"--master-port={port}")
    processes = []
    for node in range(NODES):
        temporary = folder / f"pod-{node}"
        temporary.mkdir()
        environment = {**os.environ, "PATH": search_path(), "TMPDIR": str(temporary), "PIP_NO_INDEX": "1"}
        processes.append(
            subprocess.Popen(
                ["/bin/bash", "-c", text],
                env={**environment, **variables(format_, node, port)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        time.sleep(3)
        assert [process.poll() for process in processes] == [None] * NODES, "they wait for the archive"
        archive.parent.mkdir(parents=True)
        # As FSx shows an object: whole, and not before.
        archive.with_suffix(".new").write_bytes(made.content)
        archive.with_suffix(".new").rename(archive)
        logs = [process.communicate(timeout=DEADLINE_SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    everything = "\n".join(logs)
    assert [process.returncode for process in processes] == [0] * NODES, everything
    assert "trained on 2 ranks, loss 0.0" in everything
    assert everything.count("from the wheel") == NODES
    assert everything.count("installing requirements.txt") == 1
    for node in range(NODES):
        [unpacked] = (folder / f"pod-{node}").glob("trainforge-*/*")
        assert unpacked.name == archive.stem
