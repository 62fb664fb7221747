"""nccom-tests by the script of its AWS Batch job definition, on two nodes of two ranks that are processes here.

A stub takes nccom-test's place: it starts a real mpirun on the hosts that it gets, as nccom-test does. Changed for
it: ranks run on processors, and the image's folders and the shared file system are folders here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.reference_types import CPU
from tests.batch_nodes import MPI_HINT, Node, image_variables, own_address, variables
from tests.cluster_infos import with_images
from tests.nccom_tests_modules import STUB
from tests.programs import checkout, require_program, search_path
from workloads import registry
from workloads.entry import PROGRAM_FOLDER, RUNTIME_FOLDER
from workloads.nccom_tests.results import read
from workloads.render.batch import batch
from workloads.resources import Resources
from workloads.spec import Run

NODES = 2
SECONDS = 300


@pytest.fixture
def start(artifacts: Callable[[str], Path]) -> Iterator[Callable[..., list[Node]]]:
    """Return a function that starts the nodes of the definition; all are ended with the test."""
    require_program("mpirun", MPI_HINT)
    started: list[Node] = []

    def nodes() -> list[Node]:
        folder = artifacts(f"batch-nccom-{len(started)}")
        stub = folder / "bin" / "nccom-test"
        stub.parent.mkdir()
        stub.write_text(STUB, encoding="utf-8")
        stub.chmod(0o755)
        workload = replace(
            registry.workload("nccom-tests"), resources=Resources(accelerators=("cpu",), ranks_per_node=2)
        )
        run = Run.on_type(workload, workload.reference, CPU, NODES)
        info = with_images("batch", folder / "shared", {"nccom-tests": "registry.example/nccom-tests:1"})
        [only] = json.loads(batch(run, info))["nodeProperties"]["nodeRangeProperties"]
        *shell, text = only["container"]["command"]
        for inside, here in {PROGRAM_FOLDER: "nccom_tests", RUNTIME_FOLDER: "runtime"}.items():
            assert inside in text
            text = text.replace(inside, str(checkout() / "workloads" / here))
        path = f"{stub.parent}:{search_path()}"
        image = {**image_variables(), "PATH": path, "HOME": str(folder)}
        address = own_address()
        for index in range(NODES):
            environment = image | variables(index, NODES, address) | {"AWS_BATCH_JOB_ATTEMPT": "1"}
            started.append(Node([*shell, text], folder / f"node-{index}", environment))
        return started

    yield nodes
    for node in started:
        node.end()


@pytest.mark.heavy
@pytest.mark.proof("nccom-tests", "batch", "executed (operator simulated)")
def test_mpirun_of_the_tool_reaches_both_nodes_without_ssh(start: Callable[..., list[Node]]) -> None:
    nodes = start()
    codes = [node.process.wait(timeout=SECONDS) for node in nodes]
    said = nodes[0].said
    assert codes == [0, 0], said + nodes[1].said
    assert sorted(re.findall(r"neuron-bench (\d) of 2", said)) == ["0", "1"]
    assert f"--nworkers {2 * NODES} --non-interactive all_reduce" in said
    assert re.search(rf"root {re.escape(own_address())}:\d+\n", said)
    [table] = read(said.splitlines())
    assert (len(table.rows), table.problems()) == (2, [])
