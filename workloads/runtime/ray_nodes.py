"""The Ray cluster of a job: a head on node 0, a Ray node on each other one, and the driver, which starts on node 0.

    python3 -m ray_nodes --node=0 --nodes=2 --head=HOST:29500 --ranks-per-node=8 --gpus=8 -- python3 train.py

Node 0 starts the head, waits until every node has joined, and runs the driver with RAY_ADDRESS; the cluster ends with
the driver. A signal is not passed on: Ray would end at once. It is written to the file that TRAINFORGE_STOP_FILE names,
on the node itself, which the ranks of the node read after each step, so that they can save.

Exit codes: the driver's on node 0, and 0 on others once the head is gone; 2 for a wrong command line, 69 where Ray
cannot be started, 79 where a node is not there in time or Ray ended on one by itself, 127 without Ray or the driver.
The time is TRAINFORGE_RENDEZVOUS_SECONDS.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from child_processes import end_with_parent
from durations import seconds
from exit_codes import LOST_NODE, UNAVAILABLE, of_process
from nodes_folder import RENDEZVOUS_SECONDS, RENDEZVOUS_VARIABLE

STOP_FILE = "TRAINFORGE_STOP_FILE"
"""The variable with the file that holds the number of a signal that asked this node's ranks to stop."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""The signals that ask ranks to stop."""

END_SECONDS = 20
"""Seconds that Ray's processes have to end: our choice."""

_GONE_SECONDS = 30
"""Seconds after which a head that does not answer is gone: our choice; one that refuses is gone at once."""

START_TRIES = 3
"""Times that a node is started until it has joined: our choice."""

START_SECONDS = 300
"""Seconds after which a node that runs has joined: our choice."""

_LOOK_SECONDS = 0.5

_AGENT_PORTS = (
    "metrics-export-port",
    "dashboard-agent-grpc-port",
    "dashboard-agent-listen-port",
    "runtime-env-agent-port",
)
"""Options of `ray start` for the ports of its agents (ray 2.60, scripts.py)."""

_COUNT_NODES = """
import ray, sys, time
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
while True:
    alive = sum(node["Alive"] for node in ray.nodes())
    if alive >= int(sys.argv[2]):
        break
    time.sleep(0.5)
"""
"""A program that ends when the cluster at an address has a number of nodes."""


def say(message: str) -> None:
    """Print to standard error, without a buffer."""
    sys.stderr.write(f"Ray nodes: {message}\n")
    sys.stderr.flush()


class StopFile:
    """The file by which this node's ranks hear of a signal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.received = 0

    def listen(self) -> None:
        """Write signals to the file from now on; they do not end this process."""
        for number in SIGNALS:
            signal.signal(number, self._hear)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        unfinished = self.path.with_name(f"{self.path.name}.writing")
        unfinished.write_text(str(number), encoding="ascii")
        os.replace(unfinished, self.path)


class RayNode:
    """Ray's processes on this node, below a folder of their own; `words` are more options of `ray start`."""

    def __init__(self, options: argparse.Namespace, folder: Path, environment: Mapping[str, str]) -> None:
        host, _, port = options.head.rpartition(":")
        self.host, self.port = host, int(port)
        self.environment = dict(environment)
        # The job's nodes are all that there are: no autoscaler.
        place = ["--head", f"--port={port}", "--include-dashboard=false", "--no-monitor"]
        # A run takes all of the node: ports that are not written down are any that is free.
        self._words = [
            *(*_program(folder), "start"),
            *("--block", "--disable-usage-stats", "--log-color=false"),
            *(place if options.node == 0 else [f"--address={options.head}"]),
            f"--num-cpus={options.ranks_per_node}",
            f"--num-gpus={options.gpus}",
            f"--object-store-memory={options.object_store_mib * 2**20}",
            f"--temp-dir={folder}",
        ]
        self._log = folder / "ray_start.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start them."""
        with self._log.open("wb") as log:
            self._process = _start([*self._words, *_agent_ports()], self.environment, log.fileno())

    def code(self) -> int | None:
        """Return the exit code where they have ended, or None."""
        assert self._process is not None
        return self._process.poll()

    def answers(self) -> bool | None:
        """Return whether the head takes connections: False where it refuses, None where nothing comes back."""
        try:
            socket.create_connection((self.host, self.port), timeout=5).close()
        except ConnectionRefusedError:
            return False
        except OSError:
            return None
        return True

    def printed(self) -> str:
        """Return what `ray start` has printed, for a message: mostly advice that does not hold in a job."""
        return self._log.read_text(encoding="utf-8", errors="replace").strip() if self._log.exists() else ""

    def end(self) -> None:
        """End them: asked first, killed after a while."""
        if self._process is not None:
            _end(self._process)


def _agent_ports() -> list[str]:
    """Return options with free ports for Ray's agents on a node.

    Without them a node waits until its agents, which are Python programs, have written their ports, and Ray ends it
    after 15 seconds, which nothing sets (ray-project/ray, issue 65983).
    """
    with contextlib.ExitStack() as open_until_all_are_known:
        sockets = [open_until_all_are_known.enter_context(socket.socket()) for _ in _AGENT_PORTS]
        for one in sockets:
            one.bind(("", 0))
        return [f"--{name}={one.getsockname()[1]}" for name, one in zip(_AGENT_PORTS, sockets, strict=True)]


def _program(folder: Path) -> list[str]:
    """Return the words that start the program `ray`, with an interpreter whose path has no space.

    Ray starts workers by a shell that does not quote it (ray 2.60, runtime_env/context.py, exec_worker). A link to the
    virtual environment has another path for the same interpreter.

    Raises:
        OSError: Ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise FileNotFoundError(
            f"'{sys.executable}' has no package 'ray'; install it, or put its Python on PATH"
        )
    python = Path(sys.executable)
    if " " in str(python):
        link = folder / "environment"
        link.symlink_to(python.parent.parent)
        python = link / "bin" / "python3"
    return [str(python), str(Path(__file__).with_name("ray_start.py"))]


def run(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run this node's part of the job and return its exit code.

    Raises:
        ValueError: a variable is wrong.
        OSError: Ray or the driver cannot be started.
    """
    wait_seconds = seconds(environment, RENDEZVOUS_VARIABLE, RENDEZVOUS_SECONDS)
    # Paths of sockets have 107 bytes at most, so the folder is not in the run's.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    stop = StopFile(folder / "stop")
    stop.listen()
    node = RayNode(options, folder, {**environment, STOP_FILE: str(stop.path)})
    try:
        deadline = time.monotonic() + wait_seconds
        return _head(node, options, stop, deadline) if options.node == 0 else _other(node, options, deadline)
    finally:
        node.end()
        shutil.rmtree(folder, ignore_errors=True)


def _head(node: RayNode, options: argparse.Namespace, stop: StopFile, deadline: float) -> int:
    node.start()
    if not _wait(lambda: node.answers() is True, node, deadline):
        say(f"the head of Ray did not start on port {node.port}:\n{node.printed()}")
        return UNAVAILABLE
    address = f"{node.host}:{node.port}"
    if options.nodes > 1 and not _joined(node, address, options.nodes, deadline):
        if node.code() is None:
            say(f"not all of {options.nodes} nodes joined the Ray cluster in time")
        else:
            say(f"the head of Ray has ended before all of {options.nodes} nodes joined\n{node.printed()}")
        return LOST_NODE
    if stop.received:
        say(f"stopped by signal {stop.received} before the driver started")
        return 75
    driver = _start(options.command, {**node.environment, "RAY_ADDRESS": address})
    while driver.poll() is None:
        if node.code() is not None:
            say(f"the head of Ray has ended before the driver\n{node.printed()}")
            _end(driver)
            return LOST_NODE
        time.sleep(_LOOK_SECONDS)
    return of_process(driver.returncode)


def _other(node: RayNode, options: argparse.Namespace, deadline: float) -> int:
    """Run a node of Ray until the head is gone."""
    if not _wait(lambda: node.answers() is True, None, deadline):
        say(f"node {options.node}: no head of Ray answers at {options.head}")
        return LOST_NODE
    node.start()
    answered = begun = time.monotonic()
    tries = 1
    while (heard := node.answers()) is not False:
        now = time.monotonic()
        if heard:
            answered = now
        elif now - answered > _GONE_SECONDS:
            break
        if node.code() and tries < START_TRIES and now - begun < START_SECONDS and node.answers():
            say(f"node {options.node}: Ray did not start, and is started again\n{node.printed()}")
            node.start()
            begun, tries = time.monotonic(), tries + 1
        elif node.code() is not None and node.answers():
            ended = f"node {options.node}: Ray has ended here with exit code {node.code()}, and the head runs"
            say(f"{ended}\n{node.printed()}")
            return LOST_NODE
        time.sleep(_LOOK_SECONDS)
    return 0


def _joined(node: RayNode, address: str, count: int, deadline: float) -> bool:
    """Wait until the cluster has as many nodes."""
    words = [sys.executable, "-c", _COUNT_NODES, address, str(count)]
    refused_until = min(deadline, time.monotonic() + START_SECONDS)
    while True:
        counter = _start(words, node.environment)
        _wait(lambda: counter.poll() is not None, node, deadline)  # noqa: B023 -- it is over before the next one
        ended_itself = counter.poll() is not None
        _end(counter)
        if counter.returncode == 0:
            return True
        # The head takes connections before the rest of its Ray does.
        if not ended_itself or node.code() is not None or time.monotonic() > refused_until:
            return False


def _wait(reached: Callable[[], bool], node: RayNode | None, deadline: float) -> bool:
    """Wait until something is reached; False where the time is over or Ray has ended on this node."""
    while not reached():
        if time.monotonic() > deadline or (node is not None and node.code() is not None):
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _start(
    words: Sequence[str], environment: Mapping[str, str], output: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one, in a session of its own: a scheduler signals whole groups of processes.

    `output` takes what it prints.
    """
    return subprocess.Popen(  # noqa: S603 -- running the given command is what this is for
        list(words),
        env=dict(environment),
        preexec_fn=end_with_parent,
        start_new_session=True,
        stdout=output,
        stderr=output,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process: asked first, killed after a while; then kill what it left behind.

    Ray's agents outlive their node by a minute where the head is gone: they tell it first that the node has ended (ray
    2.60, process_watcher.py).
    """
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="ray_nodes", description="run a driver on a Ray cluster of a job's nodes", allow_abbrev=False
    )
    parser.add_argument("--node", type=int, required=True, help="the number of this node, 0 for the head's")
    parser.add_argument("--nodes", type=int, required=True, help="how many nodes the job has")
    parser.add_argument("--head", type=_address, required=True, help="HOST:PORT of the head")
    parser.add_argument("--ranks-per-node", type=int, required=True, help="how many ranks every node has")
    parser.add_argument("--gpus", type=int, default=0, help="how many GPUs every node has")
    parser.add_argument("--object-store-mib", type=int, default=200, help="size of a node's object store")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="the driver, after --")
    return parser.parse_args(words)


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not (host and port.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not HOST:PORT")
    return text


def main() -> int:
    """Run this node's part as the command line says."""
    options = arguments()
    try:
        return run(options, os.environ)
    except ValueError as error:
        say(str(error))
        return 2
    except OSError as error:
        say(f"cannot be started: {error}")
        return 127


if __name__ == "__main__":
    sys.exit(main())
