"""nccl-tests by the script of its AWS Batch job definition: N nodes' processes, with our rendezvous and no ssh.

Changed for it: the image's folders and the shared file system are folders here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.batch_nodes import MPI_HINT, Node, image_variables, own_address, variables
from tests.cluster_infos import with_images
from tests.collective_runs import NODES, check, collective_run
from tests.programs import checkout, require_module, require_program, search_path
from workloads.entry import PROGRAM_FOLDER, RUNTIME_FOLDER
from workloads.render.batch import batch

require_module("torch", "make setup-train installs it")

SECONDS = 300


@pytest.fixture
def start(artifacts: Callable[[str], Path]) -> Iterator[Callable[..., dict[int, Node]]]:
    """Return a function that starts the nodes of a collective's definition; all are ended with the test."""
    require_program("mpirun", MPI_HINT)
    started: list[Node] = []

    def nodes(collective: str, **extra: str) -> dict[int, Node]:
        folder = artifacts(f"batch-{collective}-{len(started)}")
        info = with_images("batch", folder / "shared", {"nccl-tests": "registry.example/nccl-tests:1"})
        definition = json.loads(batch(collective_run(collective), info))
        [only] = definition["nodeProperties"]["nodeRangeProperties"]
        *shell, text = only["container"]["command"]
        for inside, here in {PROGRAM_FOLDER: "nccl_tests", RUNTIME_FOLDER: "runtime"}.items():
            assert inside in text
            text = text.replace(inside, str(checkout() / "workloads" / here))
        given = {**image_variables(), "PATH": search_path(), "HOME": str(folder), **extra}
        address = own_address()
        found = {}
        for index in range(NODES):
            environment = given | variables(index, NODES, address) | {"AWS_BATCH_JOB_ATTEMPT": "1"}
            found[index] = Node([*shell, text], folder / f"node-{index}", environment)
            started.append(found[index])
        return found

    yield nodes
    for node in started:
        node.end()


@pytest.mark.proof("nccl-tests", "batch", "executed (operator simulated)")
@pytest.mark.parametrize("collective", ["all_reduce", "alltoall"])
def test_mpirun_starts_the_ranks_of_both_nodes(
    collective: str, start: Callable[..., dict[int, Node]]
) -> None:
    nodes = start(collective)
    codes = [node.process.wait(timeout=SECONDS) for node in nodes.values()]
    assert codes == [0, 0], nodes[0].said + nodes[1].said
    check(nodes[0].said, collective, hosts=1)


def test_the_jobs_exit_code_is_that_of_the_ranks(start: Callable[..., dict[int, Node]]) -> None:
    nodes = start("all_reduce", NCCL_TESTS_MIN_BW="1e9")
    assert nodes[0].process.wait(timeout=SECONDS) == 7, nodes[0].said
    assert "FAILED" in nodes[0].said
