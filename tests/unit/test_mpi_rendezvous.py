"""The rendezvous of an MPI program: the very script of an AWS Batch job definition, with Open MPI and without ssh."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.cluster_info import Mount
from tests.batch_nodes import JOB, MPI_HINT, Node, image_variables, own_address, variables
from tests.programs import require_program, search_path
from tests.unit.batch_sample import CPU_TYPE, GPU_TYPE, command_here, definition, run_on
from workloads.launchers import Mpi
from workloads.program import Program
from workloads.resources import Resources
from workloads.restarts import LOST_NODE

RANKS = 2
END_SECONDS = 60

# Every rank adds its number to a sum over all, which only a whole world gets right, and then waits or fails as told.
PROGRAM = r"""
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
  int rank, size, sum;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  printf("rank %d of %d on node %s: %d %s\n", rank, size, getenv("AWS_BATCH_JOB_NODE_INDEX"), sum, argv[2]);
  fflush(stdout);
  if (getenv("WAIT")) sleep(600);
  if (getenv("FAIL") && rank == size - 1) exit(37);
  MPI_Finalize();
  return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_program("mpirun", MPI_HINT)
    require_program("gcc", "Debian and Ubuntu have it: apt-get install gcc libc6-dev")
    folder = tmp_path_factory.mktemp("mpi")
    source = folder / "sum.c"
    source.write_text(PROGRAM, encoding="utf-8")
    compiler = require_program("mpicc", MPI_HINT)
    subprocess.run([compiler, "-o", str(folder / "sum"), str(source)], check=True)
    return folder / "sum"


Start = Callable[..., dict[int, Node]]


@pytest.fixture
def start(program: Path, tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts nodes of a definition rendered for two; all of them are ended with the test."""
    started: list[Node] = []

    def nodes(
        indices: list[int], count: int, *, instance_type: str = CPU_TYPE, attempt: str = "1", **extra: str
    ) -> dict[int, Node]:
        mounts = (Mount(str(tmp_path / "shared"), "lustre", "fs-0"),)
        resources = Resources(accelerators=("gpu", "cpu"), ranks_per_node=RANKS)
        run = run_on(
            instance_type, launcher=Mpi(), program=Program(command=(str(program),)), resources=resources
        )
        command = command_here(definition(run, mounts=mounts))
        given = {**image_variables(), "PATH": search_path(), "HOME": str(tmp_path), **extra}
        address = own_address()
        found = {}
        for index in indices:
            batch = variables(index, count, address) | {"AWS_BATCH_JOB_ATTEMPT": attempt}
            name = f"attempt-{attempt}-node-{index}"
            found[index] = Node(command, tmp_path / name, given | batch)
            started.append(found[index])
        return found

    yield nodes
    for node in started:
        node.end()


def code(node: Node) -> int:
    return node.process.wait(timeout=END_SECONDS)


def told(count: int) -> list[str]:
    """Return what the ranks of a job of so many nodes say."""
    size = RANKS * count
    total = size * (size - 1) // 2
    return [f"rank {rank} of {size} on node {rank // RANKS}: {total} --name=it's" for rank in range(size)]


def ranks(node: Node) -> list[str]:
    return sorted(line for line in node.said.splitlines() if line.startswith("rank "))


@pytest.mark.parametrize("order", [[0], [0, 1], [1, 0], [2, 1, 0]], ids=str)
def test_one_definition_serves_any_number_of_nodes(start: Start, order: list[int]) -> None:
    nodes = start(order, len(order))
    assert {index: code(node) for index, node in nodes.items()} == dict.fromkeys(order, 0), nodes[0].said
    assert ranks(nodes[0]) == told(len(order))


def test_the_exit_code_is_the_programs(start: Start) -> None:
    nodes = start([0, 1], 2, FAIL="1")
    assert code(nodes[0]) == 37, nodes[0].said
    code(nodes[1])


def test_a_node_that_dies_ends_the_job_by_the_code_that_is_tried_again(start: Start) -> None:
    """mpirun's own code for it may be a program's too; the definition tries LOST_NODE again."""
    nodes = start([0, 1], 2, WAIT="1", TRAINFORGE_HEARTBEAT_SECONDS="1", TRAINFORGE_LOST_SECONDS="10")
    wait_for(lambda: len(ranks(nodes[0])) == 2 * RANKS, nodes[0])
    nodes[1].end()
    assert code(nodes[0]) == LOST_NODE, nodes[0].said
    assert "node 1 has been silent for 10 s: it is lost" in nodes[0].said
    again = start([0, 1], 2, attempt="2")
    assert [code(node) for node in again.values()] == [0, 0], again[0].said


def test_a_node_that_dies_before_mpirun_ends_the_job(start: Start, tmp_path: Path) -> None:
    """The second node is there, and gone before it reports that it is ready."""
    folder = tmp_path / "shared" / "runs" / "sample-run" / JOB / "nodes" / f"{JOB}.1"
    nodes = start([0], 2, TRAINFORGE_HEARTBEAT_SECONDS="1", TRAINFORGE_LOST_SECONDS="3")
    wait_for(folder.is_dir, nodes[0])
    (folder / "node-1.here").touch()
    assert code(nodes[0]) == LOST_NODE, nodes[0].said


def test_a_node_that_never_comes_ends_the_job(start: Start) -> None:
    nodes = start([0, 2], 3, TRAINFORGE_RENDEZVOUS_SECONDS="1")
    assert code(nodes[0]) == LOST_NODE
    assert "node 1 of 3 is not there in time" in nodes[0].said
    assert code(nodes[2]) == LOST_NODE
    assert "node 2: not all of 3 nodes, or not rank 0's, are there in time" in nodes[2].said


def test_a_node_that_the_guard_refuses_ends_the_job(start: Start) -> None:
    """This machine has no GPUs, which node 0's guard is told not to look for."""
    (main,) = start([0], 2, instance_type=GPU_TYPE, TRAINFORGE_GUARD_SKIP="accelerators,efa,plugin").values()
    (child,) = start([1], 2, instance_type=GPU_TYPE).values()
    assert code(child) == 69
    assert "8 GPUs expected, 0 in /dev" in child.said
    assert code(main) == 69
    assert "MPI rendezvous: node 1 cannot run this: see its log\n" in main.said


def test_another_attempt_is_not_answered_by_the_last_one(start: Start) -> None:
    first = start([0, 1], 2, FAIL="1")
    assert code(first[0]) == 37
    code(first[1])
    again = start([0, 1], 2, attempt="2")
    assert [code(node) for node in again.values()] == [0, 0], again[0].said
    assert ranks(again[0]) == told(2)


def test_only_the_owner_enters_the_folder(start: Start, tmp_path: Path) -> None:
    nodes = start([0, 1], 2)
    assert [code(node) for node in nodes.values()] == [0, 0], nodes[0].said
    folder = tmp_path / "shared" / "runs" / "sample-run" / JOB / "nodes" / f"{JOB}.1"
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "node-1.command").stat().st_mode & 0o077 == 0


def wait_for(reached: Callable[[], bool], node: Node) -> None:
    """Wait until something is so; a node that ends before has failed."""
    deadline = time.monotonic() + END_SECONDS
    while not reached():
        assert node.process.poll() is None, node.said
        assert time.monotonic() < deadline, node.said
        time.sleep(0.1)
