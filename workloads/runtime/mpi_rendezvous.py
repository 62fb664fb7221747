"""The rendezvous of an MPI program's nodes where no scheduler starts it on all of them: a folder that they share.

mpirun asks an agent, ssh by default, to start its daemon on each other node. Here the agent (mpi_agent.py) writes the
daemon's command into the folder, and the node, which waits there, runs it. So there is neither a key nor a port that
takes logins. On node 0 this process becomes mpirun once all other nodes wait; on another it becomes the daemon.

    python3 mpi_rendezvous.py --node=0 --nodes=2 --ranks-per-node=8 --folder=FOLDER -- mpirun -N 8 PROGRAM

The supervisors of the nodes share the folder: node 0 reads there when another node has ended before it was ready.

Exit codes: mpirun's own on node 0, the daemon's on another; 2 for a wrong command line, 69 when another node cannot
run this or the folder cannot be written, 79 when a node is not there within TRAINFORGE_RENDEZVOUS_SECONDS, 127 when
there is no mpirun. Proven with Open MPI 4.1, which the EFA installer brings.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from child_processes import become
from durations import seconds
from exit_codes import LOST_NODE, UNAVAILABLE
from mpi_agent import FOLDER_VARIABLE, agent_words, host_name
from nodes_folder import COMMAND, ENDED, READY, RENDEZVOUS_SECONDS, RENDEZVOUS_VARIABLE, NodesFolder

_SAME_ON_EVERY_NODE = "lo,docker0"
"""Interfaces that have the same address on every node."""


def say(message: str) -> None:
    """Print to standard error, without a buffer."""
    sys.stderr.write(f"MPI rendezvous: {message}\n")
    sys.stderr.flush()


def run(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Become mpirun or its daemon; return the exit code where that cannot be.

    Raises:
        ValueError: the variable with the time is no whole number, or mpirun cannot start nodes by paths of here.
        OSError: the folder cannot be written.
    """
    folder = NodesFolder(options.folder)
    deadline = time.monotonic() + seconds(environment, RENDEZVOUS_VARIABLE, RENDEZVOUS_SECONDS)
    folder.make()
    if options.node:
        folder.tell(options.node, READY)
        command = folder.wait(options.node, COMMAND, deadline)
        if command is None:
            say(f"node {options.node}: rank 0's node started nothing here in time")
            return LOST_NODE
        return become(["bash", "-c", command], environment)
    for other in range(1, options.nodes):
        if code := _not_ready(folder, other, options.nodes, deadline):
            return code
    # An absolute name: then Open MPI looks for its own parts in the same place on every node.
    mpirun = shutil.which(options.command[0], path=environment.get("PATH"))
    if mpirun is None:
        say(f"'{options.command[0]}' is not on the PATH")
        return 127
    hosts = folder.path / "hosts"
    hosts.write_text(
        # A name for the agent alone: Open MPI's daemons get addresses.
        "".join(
            f"{host_name(node) if node else 'localhost'} slots={options.ranks_per_node}\n"
            for node in range(options.nodes)
        ),
        encoding="utf-8",
    )
    own = {
        FOLDER_VARIABLE: str(folder.path.absolute()),
        # Open MPI refuses root elsewhere; in a container there may be no other user.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    return become([mpirun, *_connection(hosts), *options.command[1:]], {**environment, **own})


def _not_ready(folder: NodesFolder, other: int, nodes: int, deadline: float) -> int:
    """Wait until another node is ready; return the exit code when it never will be, or 0."""

    def ended() -> bool:
        return folder.read(other, ENDED) is not None

    if folder.wait(other, READY, deadline, ended) is not None:
        return 0
    if ended():
        say(f"node {other} cannot run this: see its log")
        return UNAVAILABLE
    say(f"node {other} of {nodes} is not there in time")
    return LOST_NODE


def _connection(hosts: Path) -> list[str]:
    """Return mpirun's options that say which nodes there are, and how to start a daemon on each."""
    return [
        *("--hostfile", str(hosts)),
        *("--mca", "plm_rsh_agent", agent_words(Path(__file__).parent)),
        # The agent is on this node only, so no other may start daemons.
        *("--mca", "plm_rsh_no_tree_spawn", "1"),
        # A daemon that went to the background would leave its node without a process, which ends the node.
        *("--mca", "orte_leave_session_attached", "1"),
        *("--mca", "oob_tcp_if_exclude", _SAME_ON_EVERY_NODE),
    ]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        description="start mpirun over nodes that share a folder", allow_abbrev=False
    )
    parser.add_argument(
        "--node", type=int, required=True, help="the number of this node, 0 where mpirun runs"
    )
    parser.add_argument("--nodes", type=int, required=True, help="how many nodes the job has")
    parser.add_argument("--ranks-per-node", type=int, required=True, help="how many ranks every node has")
    parser.add_argument(
        "--folder",
        type=Path,
        required=True,
        help="folder that the nodes of this start of the job share, and no other start",
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="mpirun and its words, after --")
    return parser.parse_args(words)


def main() -> int:
    """Run the rendezvous of this process's command line."""
    options = arguments()
    try:
        return run(options, os.environ)
    except ValueError as error:
        say(str(error))
        return 2
    except OSError as error:
        say(f"the nodes' folder '{options.folder}' cannot be used: {error}")
        return UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
