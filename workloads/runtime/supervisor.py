"""The supervisor of a node: all nodes of a job start and end together if the scheduler does not ensure that.

AWS Batch monitors the main node only, and does nothing when another node of a job dies (Batch User Guide, "Job
lifecycle for MNP jobs"). Without it, rank 0 of such a job would hold its nodes until torch or NCCL gives up, if they
do. So there is a supervisor on every node. None starts its command before all nodes are there. Then every other
node writes a heartbeat, and node 0's supervisor reads them. Signals are forwarded to the command. On a single node
this process becomes the command.

    python3 supervisor.py --node=0 --nodes=4 --folder=FOLDER -- COMMAND

Exit codes: the command's own (128 and the number when a signal ended it). On node 0 further: the exit code of another
node that failed, after rank 0 had TRAINFORGE_GRACE_SECONDS to end by itself and say why; 79 when a node did not come
within TRAINFORGE_RENDEZVOUS_SECONDS, or was silent for TRAINFORGE_LOST_SECONDS. On every node: 2 for a wrong command
line, 69 when the folder cannot be written, 127 when the command cannot be started. The standard library alone: this
runs in every image.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from child_processes import Children, become
from durations import seconds
from exit_codes import LOST_NODE, UNAVAILABLE, UNHEALTHY, UNHEALTHY_OTHER, of_process
from nodes_folder import ENDED, HEARTBEAT, HERE, RENDEZVOUS_SECONDS, RENDEZVOUS_VARIABLE, START, NodesFolder

HEARTBEAT_SECONDS = 5
"""Seconds between two heartbeats of a node: our choice."""

LOST_SECONDS = 120
"""For how long a node may be silent, in seconds: our choice. Node 0 counts the times that it looked itself, so a file
system that hangs for all of them is no lost node."""

GRACE_SECONDS = 60
"""Seconds that rank 0 may run after another node failed, to end by itself and say why: our choice."""

KILL_SECONDS = 90
"""Seconds that a command has to end after SIGTERM: the launch guard gives its own 60."""

_STOPS = frozenset({signal.SIGTERM, signal.SIGINT})


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a supervisor, in seconds."""

    rendezvous: int
    heartbeat: int
    lost: int
    grace: int
    kill: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Times:
        """Return the times that variables give, and the defaults for all others.

        Raises:
            ValueError: a variable is no whole number.
        """
        return cls(
            rendezvous=seconds(environment, RENDEZVOUS_VARIABLE, RENDEZVOUS_SECONDS),
            heartbeat=seconds(environment, "TRAINFORGE_HEARTBEAT_SECONDS", HEARTBEAT_SECONDS),
            lost=seconds(environment, "TRAINFORGE_LOST_SECONDS", LOST_SECONDS),
            grace=seconds(environment, "TRAINFORGE_GRACE_SECONDS", GRACE_SECONDS, least=0),
            kill=seconds(environment, "TRAINFORGE_KILL_SECONDS", KILL_SECONDS),
        )


class OtherNodes:
    """The other nodes as node 0 sees them.

    `reason` says which one failed or is lost, and `code` with which exit code the job ends for that; `since` is when
    that was seen. `unheard` is the number of those that were not heard at the last look.
    """

    def __init__(self, folder: NodesFolder, nodes: int, times: Times) -> None:
        self._folder = folder
        self._nodes = range(1, nodes)
        self._times = times
        self._heard: dict[int, str] = {}
        self._silent = dict.fromkeys(self._nodes, 0)
        self.reason = ""
        self.code = 0
        self.since = 0.0
        self.unheard = 0

    @property
    def lost(self) -> bool:
        """True if a node is lost."""
        return self.code == LOST_NODE

    def look(self) -> None:
        """Read the messages of the other nodes since the last look."""
        self.unheard = 0
        for node in self._nodes:
            ended = self._folder.read(node, ENDED)
            if ended is not None:
                self._ended(node, int(ended))
                continue
            heartbeat = self._folder.read(node, HEARTBEAT) or ""
            if heartbeat != self._heard.get(node, ""):
                self._heard[node] = heartbeat
                self._silent[node] = 0
                continue
            self.unheard += 1
            self._silent[node] += self._times.heartbeat
            if self._silent[node] >= self._times.lost and not self.lost:
                self.reason = f"node {node} has been silent for {self._silent[node]} s: it is lost"
                self.code = LOST_NODE
                # Rank 0 cannot explain it, so it gets no time.
                self.since = time.monotonic() - self._times.grace

    def _ended(self, node: int, code: int) -> None:
        if code == UNHEALTHY and not self.reason:
            # Not the same code, which would have the host of node 0 terminated too.
            self.reason = f"node {node} has a fault, and its host is terminated: see its log"
            self.code = UNHEALTHY_OTHER
            self.since = time.monotonic() - self._times.grace
        elif code and not self.reason:
            self.reason = f"node {node} ended with exit code {code}: see its log"
            self.code = code
            self.since = time.monotonic()


def say(message: str) -> None:
    """Print to standard error, without a buffer."""
    sys.stderr.write(f"supervisor: {message}\n")
    sys.stderr.flush()


def supervise(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run the command of this node together with the other nodes', and return the exit code.

    Raises:
        ValueError: a variable with a time is no whole number.
    """
    times = Times.of(environment)
    folder = NodesFolder(options.folder)
    try:
        if options.nodes == 1:
            become(options.command, environment)
    except OSError as error:
        return _not_started(options, error)
    try:
        folder.make()
        absent = _gather(folder, options.node, options.nodes, times)
    except OSError as error:
        say(f"the nodes' folder '{folder.path}' cannot be written: {error}")
        return UNAVAILABLE
    if absent:
        say(absent)
        return LOST_NODE
    children = Children()
    if options.node:
        code = _run_with_heartbeat(folder, options, times, children)
        # A full file system is not to hide how the node ended.
        with contextlib.suppress(OSError):
            folder.tell(options.node, ENDED, str(code))
        return code
    return _run_and_watch(OtherNodes(folder, options.nodes, times), options, times, children)


def _gather(folder: NodesFolder, node: int, nodes: int, times: Times) -> str:
    """Wait until all nodes are there; return which is not, or nothing."""
    deadline = time.monotonic() + times.rendezvous
    if node:
        folder.tell(node, HERE)
        if folder.wait(0, START, deadline) is None:
            return f"node {node}: not all of {nodes} nodes, or not rank 0's, are there in time"
        return ""
    for other in range(1, nodes):
        if folder.wait(other, HERE, deadline) is None:
            return f"node {other} of {nodes} is not there in time"
    folder.tell(0, START)
    return ""


def _run_with_heartbeat(
    folder: NodesFolder, options: argparse.Namespace, times: Times, children: Children
) -> int:
    """Run the command of a node other than 0."""
    try:
        command = children.start(options.command)
    except OSError as error:
        return _not_started(options, error)
    heartbeat = 0
    while not children.wait(times.heartbeat):
        heartbeat += 1
        with contextlib.suppress(OSError):
            folder.beat(options.node, heartbeat)
    return of_process(command.returncode)


def _run_and_watch(others: OtherNodes, options: argparse.Namespace, times: Times, children: Children) -> int:
    """Run the command of node 0, and end it when another node has failed or is lost."""
    try:
        command = children.start(options.command)
    except OSError as error:
        return _not_started(options, error)
    ending = False
    while not children.wait(times.heartbeat):
        others.look()
        overdue = time.monotonic() - others.since - times.grace
        if not others.reason or overdue < 0:
            continue
        if overdue >= times.kill:
            children.send(signal.SIGKILL)
        elif not ending:
            ending = True
            say(f"{others.reason}; rank 0's node is ended too")
            children.send(signal.SIGTERM)
    if ending:
        return others.code
    code = of_process(command.returncode)
    if code == 0 or children.received & _STOPS:
        return code
    # What rank 0 died of may be a node that is gone: every other one still says that it is there, or how it ended.
    others.look()
    while others.unheard and not others.lost:
        children.wait(times.heartbeat)
        others.look()
    if others.reason:
        say(others.reason)
    return LOST_NODE if others.lost else code


def _not_started(options: argparse.Namespace, error: OSError) -> int:
    say(f"'{options.command[0]}' cannot be started: {error}")
    return 127


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        description="run a command on every node of a job, from when all are there until one fails",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--node", type=int, required=True, help="the number of this node, 0 where rank 0 runs"
    )
    parser.add_argument("--nodes", type=int, required=True, help="how many nodes the job has")
    parser.add_argument(
        "--folder",
        type=Path,
        required=True,
        help="folder that the nodes of this start of the job share, and no other start",
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what to run, after --")
    return parser.parse_args(words)


def main() -> int:
    """Supervise the command of this process's command line."""
    # Before there is a command, an interrupt ends this program without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return supervise(arguments(), os.environ)
    except ValueError as error:
        say(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
