"""The supervisors of a job's nodes: the very script of an AWS Batch job definition, as N processes here."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import exit_codes
import pytest
import supervisor
from nodes_folder import NodesFolder

from catalog.cluster_info import Mount
from tests.batch_nodes import JOB, own_address, variables
from tests.programs import ROOT
from tests.unit.batch_sample import CPU_TYPE, command_here, definition, end_tree, run_on
from workloads.launchers import Launcher, Srun, Torchrun
from workloads.program import Program
from workloads.restarts import LOST_NODE, STALLED

END_SECONDS = 180
LAUNCHER = """#!/bin/bash
# In place of torchrun, and of a program's interpreter: what this node's launcher does, as the test says.
touch "$RUN_FOLDER/launched-$AWS_BATCH_JOB_NODE_INDEX-$AWS_BATCH_JOB_ATTEMPT"
eval "$BEHAVIOUR"
"""
FOR_EVER = "exec sleep 600"
# It outlives its guard, as in a container whose end would end it: two minutes are more than any test waits.
DEAF = "trap '' TERM; for _ in {1..120}; do sleep 1; done"
NODES_FOLDER = f"$RUN_FOLDER/nodes/{JOB}.$AWS_BATCH_JOB_ATTEMPT"


class Node:
    """A node: the container's process with Batch's variables, in a session of its own, and what it printed."""

    def __init__(self, command: list[str], output: Path, environment: dict[str, str]) -> None:
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def code(self) -> int:
        return self.process.wait(timeout=END_SECONDS)

    def lose(self) -> None:
        """End all that runs on the node without notice, as a host that is gone does."""
        end_tree(self.process.pid)
        self.process.wait(timeout=END_SECONDS)


class Job:
    """A job of a definition that was rendered for two nodes; the test sets each node's behaviour."""

    def __init__(self, folder: Path, launcher: Launcher) -> None:
        self.folder = folder
        self.run_folder = folder / "shared" / "runs" / "sample-run" / JOB
        self._programs = folder / "bin"
        self._programs.mkdir()
        for name in ("torchrun", "rank"):
            (self._programs / name).write_text(LAUNCHER, encoding="utf-8")
            (self._programs / name).chmod(0o755)
        mounts = (Mount(str(folder / "shared"), "lustre", "fs-0"),)
        self._command = command_here(
            definition(run_on(CPU_TYPE, launcher=launcher, program=Program(command=("rank",))), mounts=mounts)
        )
        self._address = own_address()
        self.started: list[Node] = []

    def start(self, node: int, behaviour: str, *, nodes: int = 2, attempt: str = "1", **extra: str) -> Node:
        path = f"{self._programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        given = {"PATH": path, "BEHAVIOUR": behaviour, "TRAINFORGE_HEARTBEAT_SECONDS": "1", **extra}
        batch = variables(node, nodes, self._address) | {"AWS_BATCH_JOB_ATTEMPT": attempt}
        output = self.folder / f"output-{node}-{attempt}"
        self.started.append(Node(self._command, output, given | batch))
        return self.started[-1]

    def wait_for(self, name: str) -> None:
        """Wait until a file of the run is there."""
        deadline = time.monotonic() + END_SECONDS
        while not (self.run_folder / name).exists():
            assert time.monotonic() < deadline, [node.said for node in self.started]
            time.sleep(0.05)


@pytest.fixture
def job_of(tmp_path: Path) -> Iterator[Callable[[Launcher], Job]]:
    """Return a function that makes the job; whatever is left of its nodes is ended with the test."""
    jobs = []

    def made(launcher: Launcher) -> Job:
        jobs.append(Job(tmp_path, launcher))
        return jobs[-1]

    yield made
    for job in jobs:
        for node in job.started:
            node.lose()


@pytest.fixture
def job(job_of: Callable[[Launcher], Job]) -> Job:
    return job_of(Torchrun())


def test_no_node_begins_before_all_are_there(job: Job) -> None:
    both = f'[ -f "{NODES_FOLDER}/node-1.here" ] && [ -f "{NODES_FOLDER}/node-2.here" ]'
    nodes = [job.start(node, f"{both} || exit 9", nodes=3) for node in (1, 0, 2)]
    assert [node.code() for node in nodes] == [0, 0, 0], [node.said for node in nodes]


def test_a_program_cannot_ask_for_the_end_of_its_host(job: Job) -> None:
    """The exit code for a faulty host is the launch guard's alone: a program's own has another meaning."""
    job.start(1, f"exit {exit_codes.UNHEALTHY}")
    main = job.start(0, FOR_EVER, TRAINFORGE_GRACE_SECONDS="0")
    assert main.code() == 1, main.said


def test_a_child_with_a_faulty_host_ends_the_job_by_a_code_that_spares_the_main_nodes(tmp_path: Path) -> None:
    others = supervisor.OtherNodes(NodesFolder(tmp_path), 2, supervisor.Times.of({}))
    others._ended(1, exit_codes.UNHEALTHY)
    assert others.code == exit_codes.UNHEALTHY_OTHER
    assert "node 1 has a fault" in others.reason


@pytest.mark.parametrize("launcher", [Torchrun(), Srun()], ids=str)
def test_a_child_that_is_refused_ends_the_job_with_its_exit_code(
    job_of: Callable[[Launcher], Job], launcher: Launcher
) -> None:
    """The launch guard's refusal is an exit code of what starts the ranks; rank 0 would wait for that node."""
    job = job_of(launcher)
    child = job.start(1, "exit 69")
    main = job.start(0, FOR_EVER, TRAINFORGE_GRACE_SECONDS="0")
    assert main.code() == 69, main.said
    assert "node 1 ended with exit code 69: see its log; rank 0's node is ended too\n" in main.said
    assert child.code() == 69


def test_rank_0_that_ends_by_itself_prints_its_reason(job: Job) -> None:
    job.start(1, "exit 69")
    main = job.start(0, f'until [ -f "{NODES_FOLDER}/node-1.ended" ]; do sleep 0.1; done; exit 3')
    assert main.code() == 3
    assert main.said == "supervisor: node 1 ended with exit code 69: see its log\n"


def test_a_launcher_that_does_not_listen_is_killed(job: Job) -> None:
    """torchrun, for one, does not react to SIGTERM while it waits for other nodes."""
    job.start(1, "exit 69")
    main = job.start(0, DEAF, TRAINFORGE_GRACE_SECONDS="0", TRAINFORGE_KILL_SECONDS="3")
    assert main.code() == 69, main.said


@pytest.mark.parametrize(
    "main_does",
    [FOR_EVER, 'until [ -f "$RUN_FOLDER/gone" ]; do sleep 0.1; done; exit 1'],
    ids=["rank 0 hangs", "rank 0 fails of it"],
)
def test_a_child_that_is_lost_ends_the_job_for_another_try(job: Job, main_does: str) -> None:
    child = job.start(1, FOR_EVER)
    main = job.start(0, main_does, TRAINFORGE_LOST_SECONDS="10")
    job.wait_for("launched-1-1")
    child.lose()
    (job.run_folder / "gone").touch()
    assert main.code() == LOST_NODE, main.said
    assert "node 1 has been silent for 10 s: it is lost" in main.said
    rules = definition(run_on(CPU_TYPE))["retryStrategy"]["evaluateOnExit"]
    assert {"onExitCode": str(LOST_NODE), "action": "RETRY"} in rules[:-1]


def test_a_launcher_that_does_not_listen_is_killed_when_a_node_is_lost(job: Job) -> None:
    """The time until it is killed counts from the loss, and does not restart at every look."""
    child = job.start(1, FOR_EVER)
    main = job.start(0, DEAF, TRAINFORGE_LOST_SECONDS="10", TRAINFORGE_KILL_SECONDS="3")
    job.wait_for("launched-1-1")
    child.lose()
    assert main.code() == LOST_NODE, main.said


def test_rank_0s_own_failure_is_the_jobs(job: Job) -> None:
    """The other node still sends heartbeats, so nothing was lost."""
    job.start(1, FOR_EVER)
    main = job.start(0, "exit 37")
    assert main.code() == 37
    assert main.said == ""


def test_a_node_that_never_comes_ends_the_job_for_another_try(job: Job) -> None:
    main = job.start(0, "exit 9", nodes=3, TRAINFORGE_RENDEZVOUS_SECONDS="1")
    child = job.start(2, "exit 9", nodes=3, TRAINFORGE_RENDEZVOUS_SECONDS="1")
    assert main.code() == LOST_NODE
    assert main.said == "supervisor: node 1 of 3 is not there in time\n"
    assert child.code() == LOST_NODE
    assert child.said == "supervisor: node 2: not all of 3 nodes, or not rank 0's, are there in time\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2], ids=str)
def test_signals_reach_the_launcher(job: Job, number: signal.Signals) -> None:
    listening = f'trap "exit 75" {number.name[3:]}; touch "$RUN_FOLDER/ready"; while :; do sleep 0.1; done'
    job.start(1, FOR_EVER)
    main = job.start(0, listening)
    job.wait_for("ready")
    main.process.send_signal(number)
    assert main.code() == 75
    # The program's own sleep may get the signal too, and its bash reports that.
    assert "supervisor" not in main.said


def test_one_node_is_the_launcher_itself(job: Job) -> None:
    """The guard that starts it is the container's own process."""
    main = job.start(0, 'echo "$PPID"; exit 5', nodes=1)
    assert main.code() == 5
    assert main.said == f"{main.process.pid}\n"
    assert not (job.run_folder / "nodes").exists()


def test_another_attempt_is_not_ended_by_the_last_one(job: Job) -> None:
    first = [job.start(1, "exit 69"), job.start(0, FOR_EVER, TRAINFORGE_GRACE_SECONDS="0")]
    assert [node.code() for node in first] == [69, 69]
    again = [job.start(node, "exit 0", attempt="2") for node in (0, 1)]
    assert [node.code() for node in again] == [0, 0], again[0].said


def test_a_command_that_cannot_be_started_ends_the_job(job: Job) -> None:
    """The launch guard, for one, where an image lacks python3: every node reports it, and none waits for the other."""
    nodes = [start_alone(node, job.folder) for node in (0, 1)]
    for process in nodes:
        _, err = process.communicate(timeout=END_SECONDS)
        assert process.returncode == 127
        assert err.startswith("supervisor: 'no-such-program' cannot be started: ")


def start_alone(node: int, folder: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """Start a supervisor by itself, without the script around it."""
    program = ROOT / "workloads" / "runtime" / "supervisor.py"
    options = [f"--node={node}", "--nodes=2", f"--folder={folder / 'nodes'}"]
    return subprocess.Popen(
        [sys.executable, str(program), *options, "--", *(words or ("no-such-program",))],
        env={"PATH": os.environ["PATH"], "TRAINFORGE_HEARTBEAT_SECONDS": "1", **variables},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_time_that_is_no_number_is_refused(tmp_path: Path) -> None:
    process = start_alone(0, tmp_path, TRAINFORGE_LOST_SECONDS="2m")
    _, err = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 2
    assert err == "supervisor: TRAINFORGE_LOST_SECONDS is '2m'; it must be a whole number of seconds from 1\n"


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "nodes").touch()
    process = start_alone(0, tmp_path)
    _, err = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 69
    assert err.startswith(f"supervisor: the nodes' folder '{tmp_path}/nodes' cannot be written: ")


def test_a_signal_before_all_nodes_are_there_ends_the_supervisor(tmp_path: Path) -> None:
    process = start_alone(1, tmp_path)
    deadline = time.monotonic() + END_SECONDS
    while not (tmp_path / "nodes" / "node-1.here").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=END_SECONDS)
    assert (process.returncode, err) == (-signal.SIGINT, "")


def test_no_program_of_ours_ends_with_the_code_that_is_tried_again() -> None:
    runtime = ROOT / "workloads" / "runtime"
    codes = {
        int(code): name
        for path in ("exit_codes.py", "training/errors.py")
        for name, code in re.findall(
            r"^([A-Z_]+) = (\d+)$", (runtime / path).read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert {69, 75} < codes.keys()
    assert codes[STALLED] == "STALLED", "the guard and the renderers name one code for a run without progress"
    assert codes[LOST_NODE] == "LOST_NODE", "the supervisor and the renderers name one for a lost node"
