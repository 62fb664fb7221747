"""A Slurm cluster of real daemons: a slurmctld, and a slurmd a node; started for a test and ended after it."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.ports import LOOPBACK
from tests.programs import require_program
from tests.slurm.configuration import Layout

HINT = "Debian and Ubuntu have it: apt-get install slurmctld slurmd slurm-client"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "srun", "sbatch", "squeue", "scontrol", "scancel")

# Timeouts, and no promise of speed: a prolog that checks a node's health is slow on a machine that others use.
_START_SECONDS = 180.0
_STOP_SECONDS = 10.0
_STRAGGLER_SECONDS = 5.0
_COMMAND_SECONDS = 180.0
_POLL_SECONDS = 0.1
_TAIL_CHARACTERS = 2000
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Debian's folder of daemons: not on every user's PATH."""


class SlurmError(Exception):
    """The cluster does not start or does not answer. The text has the reason and the end of the logs."""


@dataclass
class SlurmCluster:
    """A cluster in `folder`, on loopback, of this user.

    `partitions` names the nodes of each partition; the first is the default one. The nodes are processes of
    this machine with made-up sizes (`cpus`, `memory_mib`, `gpus`), so jobs see one file system, as they do on a
    cluster with a shared home. `settings` are lines of slurm.conf over the ones that `Layout` writes. Logs
    are in `folder / "logs"`; the folder is the caller's to remove.

    `with SlurmCluster(folder, {"gpu": ["n1", "n2"]}) as slurm: slurm.run("srun", "-N", "2", "hostname")`
    """

    folder: Path
    partitions: Mapping[str, Sequence[str]]
    cpus: int = 4
    memory_mib: int = 4096
    gpus: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    _layout: Layout | None = None
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _sockets: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    @property
    def nodes(self) -> list[str]:
        """The names of all nodes."""
        assert self._layout, "start the cluster first"
        return [node.name for node in self._layout.nodes]

    def start(self) -> None:
        """Start the daemons and wait until every node is idle.

        Skips the test (fails it in CI) where Slurm is not installed.

        Raises:
            SlurmError: a daemon ended, or a node is not idle in time.
        """
        for program in PROGRAMS:
            if shutil.which(program, path=self.environment()["PATH"]) is None:
                require_program(program, HINT)
        for name in ("state", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._sockets = tempfile.TemporaryDirectory(prefix="slurm-")
        self._layout = Layout.of(
            self.partitions,
            cpus=self.cpus,
            memory_mib=self.memory_mib,
            sockets=Path(self._sockets.name),
            gpus=self.gpus,
        )
        self._layout.write(self.folder, getpass.getuser(), {"FirstJobId": _first_job(), **self.settings})
        self._start_munged(self._layout.token_socket)
        self._start_daemon("slurmctld", ["slurmctld", "-D", "-i", "-f", str(self.folder / "slurm.conf")])
        self._wait_for_controller(self._layout.controller_port)
        for name in self.nodes:
            self._layout.spool(name).mkdir(parents=True)
            self.start_node(name)
        self.wait_for(dict.fromkeys(self.nodes, "idle"))

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node."""
        command = ["slurmd", "-D", "-N", name, "-f", str(self.folder / "slurm.conf")]
        self._start_daemon(name, command)

    def stop_node(self, name: str) -> None:
        """End the slurmd of a node, as when the machine fails."""
        _end({name: self._daemons.pop(name)})

    def stop(self) -> None:
        """End jobs, then all daemons; harmless when nothing runs."""
        if "slurmctld" in self._daemons and self._daemons["slurmctld"].poll() is None:
            # Steps are no children of ours: their slurmd must end them while it runs.
            with contextlib.suppress(SlurmError):
                self.run("scancel", "--user", getpass.getuser(), "--signal=KILL", "--full", check=False)
                self.run("scancel", "--user", getpass.getuser(), check=False)
                self._wait(lambda: not self.run("squeue", "--noheader").strip(), 5.0)
        daemons, self._daemons = self._daemons, {}
        _end(daemons)
        self._end_stragglers()
        if self._sockets:
            self._sockets.cleanup()

    def environment(self) -> dict[str, str]:
        """Return this process's environment for commands that talk to the cluster.

        What an outer Slurm job set is left out.
        """
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))
        }
        return {
            **kept,
            "PATH": f"{kept.get('PATH', os.defpath)}{os.pathsep}{_SYSTEM_PATH}",
            "SLURM_CONF": str(self.folder / "slurm.conf"),
        }

    def run(self, *command: str, directory: Path | None = None, check: bool = True) -> str:
        """Run a command against the cluster and return its standard output.

        Raises:
            SlurmError: it failed (unless `check` is off), or took too long.
        """
        shown = " ".join(command)
        try:
            done = subprocess.run(
                command,
                cwd=directory or self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise SlurmError(
                f"'{shown}' did not end within {_COMMAND_SECONDS:.0f} s; {self._logs()}"
            ) from error
        if check and done.returncode != 0:
            raise SlurmError(
                f"'{shown}' ended with code {done.returncode}: {done.stderr.strip()}; {self._logs()}"
            )
        return done.stdout

    def states(self) -> dict[str, str]:
        """Return the state of each node, as sinfo has it."""
        lines = self.run("sinfo", "--Node", "--noheader", "--format=%N %T").splitlines()
        return dict(line.split() for line in lines)

    def wait_for(self, states: Mapping[str, str], seconds: float = _START_SECONDS) -> None:
        """Wait until nodes have these states.

        Raises:
            SlurmError: they have not within `seconds`, or a daemon ended.
        """

        last = "nothing"

        def reached() -> bool:
            nonlocal last
            self._check_daemons()
            try:
                found = self.states()
            except SlurmError as error:
                # The controller does not listen yet.
                last = str(error).split("; logs are in")[0]
                return False
            last = str(found)
            return all(found.get(name) == state for name, state in states.items())

        if not self._wait(reached, seconds):
            raise SlurmError(
                f"nodes are not {dict(states)} after {seconds:.0f} s, but {last}; {self._logs()}"
            )

    def _end_stragglers(self) -> None:
        """End what daemons and jobs left behind: processes that carry this cluster's SLURM_CONF."""
        if not self._wait(lambda: not self._stragglers(), _STRAGGLER_SECONDS):
            for process_id in self._stragglers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)
            self._wait(lambda: not self._stragglers(), _STRAGGLER_SECONDS)

    def _stragglers(self) -> list[int]:
        mark = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            # Processes of others cannot be read, and any may end meanwhile.
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def _check_daemons(self) -> None:
        for name, daemon in self._daemons.items():
            if daemon.poll() is not None:
                raise SlurmError(
                    f"the daemon of '{name}' ended with code {daemon.returncode}; {self._logs()}"
                )

    def _wait(self, reached: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _start_munged(self, listening: Path) -> None:
        """Start the daemon that signs who sent a message, with a key of this cluster's own."""
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        command = ["munged", "--foreground", "--force", "--num-threads=2", f"--key-file={key}"]
        for option, name in (
            ("pid-file", "munged.pid"),
            ("seed-file", "munge.seed"),
            ("log-file", "logs/munged.log"),
        ):
            command.append(f"--{option}={self.folder / name}")
        self._start_daemon("munged", [*command, f"--socket={listening}"])
        if not self._wait(listening.exists, _START_SECONDS):
            raise SlurmError(f"munged does not listen; {self._logs()}")

    def _wait_for_controller(self, port: int) -> None:
        """Wait until slurmctld listens: a client that comes before tries for nine seconds and gives up."""

        def listens() -> bool:
            self._check_daemons()
            with socket.socket() as client:
                return client.connect_ex((LOOPBACK, port)) == 0

        if not self._wait(listens, _START_SECONDS):
            raise SlurmError(f"slurmctld does not listen; {self._logs()}")

    def _start_daemon(self, name: str, command: list[str]) -> None:
        with (self.folder / "logs" / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                command,
                cwd=self.folder,
                # A job must see what clients see: it may start steps of its own.
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _logs(self) -> str:
        files = sorted((self.folder / "logs").glob("*"))
        tails = [f"{path.name}: {path.read_text(errors='replace')[-_TAIL_CHARACTERS:]}" for path in files]
        return f"logs are in {self.folder / 'logs'}:\n" + "\n".join(tails)


def _first_job() -> str:
    """Return the id of a cluster's first job.

    Jobs take their port by their number, and clusters of other workers' tests run jobs on this machine at the same
    time.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return str(1 + 100 * int(worker))


def _end(daemons: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """End daemons by their process ids, gently first."""
    for sent, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
        living = [daemon for daemon in daemons.values() if daemon.poll() is None]
        for daemon in living:
            daemon.send_signal(sent)
        for daemon in living:
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(seconds)
