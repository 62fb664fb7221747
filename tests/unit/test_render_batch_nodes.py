"""The very script of the job definition, run here: as many processes as nodes, with the variables of Batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from catalog.cluster_info import Mount
from tests.batch_nodes import JOB, own_address, variables
from tests.ports import free_ports
from tests.shebang import shebang
from tests.unit.batch_sample import CPU_TYPE, command_here, definition, run_on
from workloads.launchers import Launcher, Srun, Torchrun
from workloads.program import Program
from workloads.resources import Resources

STUB = f"""{shebang()}
# In place of torchrun: the nodes meet at the given address, tell each other who they are, and rank 0 decides.
import argparse, json, os, socket, sys, time
parser = argparse.ArgumentParser()
for name in ("nnodes", "nproc-per-node", "node-rank", "master-port", "max-restarts"):
    parser.add_argument("--" + name, type=int)
parser.add_argument("--master-addr")
parser.add_argument("program", nargs=argparse.REMAINDER)
given = parser.parse_args()
me = {{"rank": given.node_rank, "folder": os.environ["RUN_FOLDER"], "words": given.program}}
address = (given.master_addr, int(os.environ["STAND_IN_PORT"]))
if given.node_rank == 0:
    seen = [me]
    with socket.create_server(("", address[1])) as server:
        server.settimeout(20)
        peers = []
        while len(seen) < given.nnodes:
            peer, _ = server.accept()
            peers.append(peer)
            seen.append(json.loads(peer.makefile().readline()))
        for peer in peers:
            peer.sendall(json.dumps(seen).encode() + b"\\n")
else:
    deadline = time.monotonic() + 20
    while True:
        try:
            peer = socket.create_connection(address, timeout=20)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    peer.sendall(json.dumps(me).encode() + b"\\n")
    seen = json.loads(peer.makefile().readline())
print(json.dumps({{"master": given.master_addr, "port": given.master_port, "seen": seen}}))
sys.exit(int(os.environ.get("STAND_IN_CODE", "0")) if given.node_rank == 0 else 0)
"""


class Nodes:
    """The nodes of one job of a definition, as processes here."""

    def __init__(self, folder: Path) -> None:
        self.shared = folder / "shared"
        programs = folder / "bin"
        programs.mkdir()
        (programs / "torchrun").write_text(STUB, encoding="utf-8")
        (programs / "torchrun").chmod(0o755)
        self.environment = {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "STAND_IN_PORT": str(free_ports(1)[0]),
        }
        self.command = self.command_of(Torchrun())

    def command_of(self, launcher: Launcher, **changes: Any) -> list[str]:
        mounts = (Mount(str(self.shared), "lustre", "fs-0"),)
        found = definition(run_on(CPU_TYPE, launcher=launcher, **changes), mounts=mounts)
        return command_here(found)

    def start(self, variables: dict[str, str], **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command,
            env=self.environment | variables | extra,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=40)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("children_first", [False, True], ids=["main first", "main late"])
def test_one_definition_serves_any_number_of_nodes(nodes: Nodes, count: int, children_first: bool) -> None:
    address = own_address()
    order = reversed(range(count)) if children_first else range(count)
    processes = {index: nodes.start(variables(index, count, address)) for index in order}
    results = {index: ended(process) for index, process in processes.items()}
    folder = f"{nodes.shared}/runs/sample-run/{JOB}"
    words = ["/opt/trainforge/workload/train.py", "--steps=3", "--name=it's"]
    for code, out, err in results.values():
        assert code == 0, err
        met = json.loads(out)
        assert met["master"] == address
        assert met["port"] == 29500
        assert sorted(met["seen"], key=lambda node: node["rank"]) == [
            {"rank": rank, "folder": folder, "words": words} for rank in range(count)
        ]
    assert Path(folder).is_dir()


def test_the_exit_code_of_the_main_node_is_the_programs(nodes: Nodes) -> None:
    address = own_address()
    child = nodes.start(variables(1, 2, address))
    main = nodes.start(variables(0, 2, address), STAND_IN_CODE="37")
    assert ended(main)[0] == 37
    assert ended(child)[0] == 0


def test_a_child_without_an_address_reports_it(nodes: Nodes) -> None:
    lost = variables(1, 2, "")
    code, out, err = ended(nodes.start(lost))
    assert code == 69
    assert err == "node 1: AWS Batch did not say where the main node is\n"
    assert out == ""


def test_ranks_that_no_launcher_starts_have_their_number(nodes: Nodes, tmp_path: Path) -> None:
    """Three nodes of a definition for two: the number of ranks follows the job's nodes."""
    program = tmp_path / "bin" / "tell"
    program.write_text('#!/bin/bash\necho "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR"\n', encoding="utf-8")
    program.chmod(0o755)
    resources = Resources(accelerators=("cpu",), ranks_per_node=2)
    nodes.command = nodes.command_of(Srun(), program=Program(command=("tell",)), resources=resources)
    address = own_address()
    processes = [nodes.start(variables(index, 3, address)) for index in range(3)]
    told = []
    for process in processes:
        code, out, err = ended(process)
        assert code == 0, err
        told += out.splitlines()
    assert sorted(told) == [f"{rank} {rank % 2} 6 {address}" for rank in range(6)]
