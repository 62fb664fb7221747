#!/usr/bin/env python3
"""Start of nccom-test over all nodes of a run, by mpirun or srun with PMIx.

    mpirun -N 32 python3 collective.py all_reduce --minbytes=8 --maxbytes=1GB --stepfactor=2

They start a process for each logical core. The first of each node stays, the others end at once. The one of rank 0
starts nccom-test, which starts mpirun itself, with a process on each node. That mpirun asks an agent for its daemons on
the other nodes, in place of ssh: it leaves their commands in a folder of the run, where the processes that stayed take
them (runtime/mpi_agent.py). So nodes need neither keys nor logins, and all schedulers start it in the same way.

nccom-test's output goes through. The exit code is its own; 7 where it ended well without a whole table.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from durations import seconds
from exit_codes import LOST_NODE, UNAVAILABLE, USAGE, of_process
from mpi_agent import ADDRESSES, FOLDER_VARIABLE, agent_words, host_name
from nccom_tests_options import options
from nodes_folder import COMMAND, ENDED, READY, RENDEZVOUS_SECONDS, RENDEZVOUS_VARIABLE, NodesFolder

INCOMPLETE = 7
"""Exit code of a run whose table is not whole, or that has a failure in it."""

ROOT_VARIABLE = "NEURON_RT_ROOT_COMM_ID"
"""The variable with the address at which the Neuron runtimes of all nodes meet."""

_ROOT_PORT = 45654
"""Its port: that of the example in nccom-test's guide."""

_SCHEDULERS = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "SLURM_")
"""Prefixes of the variables of the mpirun or srun that started this: another mpirun would take them for its own."""

_KEPT = re.compile(r"OMPI_MCA_(?:pml|btl\w*)|PMIX_MCA_gds|OMPI_ALLOW_RUN_AS_ROOT(?:_CONFIRM)?")
"""Those among them that an image sets."""

_SAME_ON_EVERY_NODE = "lo,docker0"
_FAILED = re.compile(rb"errors? found - test failed|Failure running ")
_WHOLE = re.compile(rb"Avg bus bandwidth:\s+[\d.]")


def say(message: str) -> None:
    """Print to standard error, without a buffer."""
    sys.stderr.write(f"nccom-tests: {message}\n")
    sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class Place:
    """The place of this process in the run, by the variables of what started it."""

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0
    ranks_per_node: int = 1
    start: str = ""

    @property
    def node(self) -> int:
        """The number of its node: ranks are numbered node by node."""
        return self.rank // self.ranks_per_node

    @property
    def nodes(self) -> int:
        """The number of nodes."""
        return self.ranks // self.ranks_per_node


def place(environment: Mapping[str, str]) -> Place:
    """Return the place of this process; alone where neither mpirun nor srun started it.

    `start` is equal on all nodes of a start, and in no other: mpirun's address, or the step of Slurm.

    Raises:
        ValueError: the nodes do not have the same number of ranks.
    """
    if "OMPI_COMM_WORLD_SIZE" in environment:
        names = (
            *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
            *("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
        )
        rank, ranks, local_rank, per_node = (int(environment[name]) for name in names)
        start = environment.get("OMPI_MCA_orte_hnp_uri", "") + environment.get("PMIX_NAMESPACE", "")
    elif "SLURM_STEP_NUM_TASKS" in environment:
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_NUM_NODES")
        rank, ranks, local_rank, nodes = (int(environment[name]) for name in names)
        per_node = ranks // nodes
        start = f"{environment.get('SLURM_JOB_ID', '')}.{environment.get('SLURM_STEP_ID', '')}"
    else:
        return Place()
    if ranks % per_node or rank % per_node != local_rank:
        raise ValueError(f"rank {rank} of {ranks} is number {local_rank} of {per_node} on its node")
    return Place(rank, ranks, local_rank, per_node, start)


def own_address() -> str:
    """Return the address by which the other nodes reach this one: that of its default route."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: it only chooses a route. The address is reserved for documentation.
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return socket.gethostbyname(socket.gethostname())


def without_scheduler(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without those of what started this."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(_SCHEDULERS) or _KEPT.fullmatch(name)
    }


def connection(folder: Path) -> dict[str, str]:
    """Return the variables by which an mpirun that somebody else starts reaches the nodes."""
    return {
        FOLDER_VARIABLE: str(folder),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_plm": "rsh",
        "OMPI_MCA_plm_rsh_agent": agent_words(),
        # The agent is on this node only, so no other may start daemons.
        "OMPI_MCA_plm_rsh_no_tree_spawn": "1",
        # A daemon that went to the background would leave its node without a process.
        "OMPI_MCA_orte_leave_session_attached": "1",
        "OMPI_MCA_oob_tcp_if_exclude": _SAME_ON_EVERY_NODE,
    }


def command(words: Sequence[str], at: Place, hosts: Sequence[str]) -> list[str]:
    """Return the command of nccom-test; `words` are the collective and its options."""
    spread = ("--nnodes", str(at.nodes), "--hosts", *hosts) if at.nodes > 1 else ()
    return ["nccom-test", "--nworkers", str(at.ranks), "--non-interactive", *words, *spread]


def serve(folder: NodesFolder, at: Place, deadline: float, environment: Mapping[str, str]) -> int:
    """Be a node other than the first: run the daemon of nccom-test's mpirun, and return its exit code."""
    folder.tell(at.node, READY, own_address())
    start = folder.wait(at.node, COMMAND, deadline, lambda: folder.read(0, ENDED) is not None)
    if start is None:
        if (code := folder.read(0, ENDED)) is not None:
            return int(code)
        say(f"node {at.node}: rank 0's node started nothing here in time")
        return LOST_NODE
    # The words are those of mpirun on rank 0's node, from a folder that only this user may enter.
    return of_process(subprocess.run(["bash", "-c", start], env=dict(environment), check=False).returncode)  # noqa: S603,S607


def hosts_of(folder: NodesFolder, at: Place, deadline: float) -> list[str] | None:
    """Wait for the other nodes and return the names of all; None where one is not there in time.

    Names are addresses, as nccom-test's guide has them, or made up where nodes share one: then they are on one machine.
    """
    addresses = [own_address()]
    for node in range(1, at.nodes):
        address = folder.wait(node, READY, deadline)
        if address is None:
            say(f"node {node} of {at.nodes} is not there in time")
            return None
        addresses.append(address)
    (folder.path / ADDRESSES).write_text("\n".join(addresses), encoding="utf-8")
    if len(set(addresses)) == at.nodes:
        return addresses
    return ["localhost", *(host_name(node) for node in range(1, at.nodes))]


def measure(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run nccom-test, pass its output on, and return its exit code, or INCOMPLETE without a whole table."""
    child = subprocess.Popen(words, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: S603
    with _forwarding(child):
        failed = whole = False
        for line in child.stdout or ():
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            failed = failed or bool(_FAILED.search(line))
            whole = whole or bool(_WHOLE.search(line))
        code = of_process(child.wait())
    if code == 0 and (failed or not whole):
        say("nccom-test ended with 0, and its table is not whole")
        return INCOMPLETE
    return code


@contextlib.contextmanager
def _forwarding(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hand the signals that end a run to nccom-test, which has to end its processes on all nodes."""
    before = {
        number: signal.signal(number, lambda number, _: child.send_signal(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lead(words: Sequence[str], at: Place, folder: NodesFolder, deadline: float) -> int:
    """Be the first node: start nccom-test when all others are there."""
    environment = without_scheduler(os.environ)
    hosts = hosts_of(folder, at, deadline) if at.nodes > 1 else []
    if hosts is None:
        return LOST_NODE
    if at.nodes > 1:
        environment |= connection(folder.path)
        environment[ROOT_VARIABLE] = f"{own_address()}:{_ROOT_PORT}"
    return measure(command(words, at, hosts), environment)


def run(words: Sequence[str], at: Place) -> int:
    """Do the part of this process and return the exit code.

    Raises:
        ValueError: the variable with the time is no whole number, or mpirun cannot start nodes by paths of here.
        OSError: the folder of the nodes cannot be written.
    """
    if at.local_rank:
        return 0
    if at.node == 0 and shutil.which("nccom-test") is None:
        say("'nccom-test' is not on PATH; it is in the package aws-neuronx-tools, which AWS's images have")
        code = UNAVAILABLE
    elif at.nodes == 1:
        return lead(words, at, NodesFolder(Path()), 0)
    else:
        code = -1
    deadline = time.monotonic() + seconds(os.environ, RENDEZVOUS_VARIABLE, RENDEZVOUS_SECONDS)
    start = hashlib.sha256(at.start.encode()).hexdigest()[:16]
    folder = NodesFolder(Path(os.environ["RUN_FOLDER"]).absolute() / "nccom-nodes" / start)
    folder.make()
    if at.node:
        return serve(folder, at, deadline, without_scheduler(os.environ))
    try:
        if code < 0:
            code = lead(words, at, folder, deadline)
    finally:
        folder.tell(0, ENDED, str(max(code, 0)))
    return code


def main(words: Sequence[str]) -> int:
    """Start a collective, and return its exit code."""
    options(words)
    try:
        return run(words, place(os.environ))
    except (KeyError, ValueError) as error:
        say(str(error))
        return USAGE
    except OSError as error:
        say(f"the folder of the run cannot be used: {error}")
        return UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
