"""The launch guard: a node that lacks what a run was promised ends it within seconds, in words.

Before the program starts it counts accelerators and EFA interfaces as the program would see them, and loads NCCL's
OFI plugin. While the program runs, rank 0's guard reads NCCL's own log and ends a run that fell to TCP, which would
train many times slower without a word. TRAINFORGE_GUARD_SKIP, names with commas, leaves checks out.

    python3 launch_guard.py --kind gpu --accelerators 8 --efa 32 --fabric=efa --node-rank 0 --logs FOLDER -- COMMAND

Exit codes: the command's own (128 and the number when a signal ended it), 2 for a wrong command line, 69 when the
node lacks something, 76 when NCCL chose another network, 127 when the command cannot be started. The standard
library alone: this runs in every image, and health checks import `fabric_log` and `node_checks` beside it.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import fabric_log
import node_checks

UNAVAILABLE = 69
"""The node lacks something (EX_UNAVAILABLE of sysexits.h)."""

WRONG_FABRIC = 76
"""NCCL speaks another protocol than promised (EX_PROTOCOL of sysexits.h)."""

SKIP = "TRAINFORGE_GUARD_SKIP"
CHECKS = ("accelerators", "efa", "plugin", "fabric")
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
GRACE_SECONDS = 60
"""How long a run that is ended may take to stop before it is killed: twice what torchrun gives its ranks."""

_SOONEST_SECONDS, _LATEST_SECONDS = 1.0, 30.0
_SILENCE_SECONDS = 900.0


def say(message: str) -> None:
    """Tell a person, on standard error and at once."""
    sys.stderr.write(f"launch guard: {message}\n")
    sys.stderr.flush()


def skipped(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the checks to leave out.

    Raises:
        ValueError: a name is none of a check's.
    """
    names = frozenset(name.strip() for name in environment.get(SKIP, "").split(",") if name.strip())
    unknown = sorted(names - set(CHECKS))
    if unknown:
        raise ValueError(f"{SKIP} names '{', '.join(unknown)}'; the checks are {', '.join(CHECKS)}")
    return names


def nccl_environment(logs: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which NCCL logs what it chose, a file a process; what is set already stays."""
    ours = {
        "NCCL_DEBUG": "INFO",
        "NCCL_DEBUG_SUBSYS": "INIT,NET",
        "NCCL_DEBUG_FILE": str(logs / "%h.%p.log"),
    }
    return {**ours, **environment}


class Command:
    """The program in a session of its own: signals go on to it, and its exit code is ours."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self.ended = threading.Event()
        for number in FORWARDED:
            signal.signal(number, self._forward)

    def start(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the program.

        Raises:
            OSError: there is no such program, or it cannot be run.
        """
        self._process = subprocess.Popen(  # noqa: S603 -- running the given command is what this is for
            list(words), env=dict(environment), start_new_session=True
        )
        for number in self._early:
            self.send(number)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if self._process is None:
            self._early.append(number)
        self.send(number)

    def send(self, number: int) -> None:
        """Send a signal to the program's group; one that has ended already gets nothing."""
        if self._process is not None and self._process.returncode is None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return

    def end(self) -> None:
        """End the program: asked first, killed after the time of grace."""
        self.send(signal.SIGTERM)
        if not self.ended.wait(GRACE_SECONDS):
            self.send(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for the program and return its exit code, as a shell would tell it."""
        assert self._process is not None
        code = self._process.wait()
        self.ended.set()
        return code if code >= 0 else 128 - code


class FabricWatch(threading.Thread):
    """Reads NCCL's logs while the program runs, ever more rarely, and ends it when NCCL chose another network."""

    def __init__(self, command: Command, logs: fabric_log.Logs) -> None:
        super().__init__(name="fabric-watch", daemon=True)
        self._command = command
        self._logs = logs
        self.wrong = ""

    def run(self) -> None:
        """Watch until the program ends."""
        pause, waited, told = _SOONEST_SECONDS, 0.0, False
        while not self._command.ended.wait(pause):
            waited += pause
            pause = min(pause * 1.2, _LATEST_SECONDS)
            self._logs.read()
            if self._logs.wrong:
                self.wrong = self._logs.wrong
                self._command.end()
                return
            if self._logs.right and not told:
                say(f"NCCL runs over efa: {self._logs.right}")
                told = True
            if not told and waited >= _SILENCE_SECONDS:
                say(
                    f"after {_SILENCE_SECONDS:.0f} s NCCL's logs do not tell its network ({self._logs.pattern})"
                )
                told = True


def watched(options: argparse.Namespace, skip: frozenset[str], environment: Mapping[str, str]) -> bool:
    """Return whether this guard watches the fabric: one a run of several nodes does, where there is a log to read."""
    if options.fabric is None or options.nodes == 1 or "fabric" in skip or options.node_rank != 0:
        return False
    if environment.get("LOCAL_RANK", "0") != "0":
        return False
    if options.kind == "neuron":
        say("the fabric is not watched: Neuron's collectives write no NCCL log; FI_PROVIDER decides there")
        return False
    level = environment.get("NCCL_DEBUG", "INFO").upper()
    if level not in ("INFO", "TRACE"):
        say(f"the fabric is not watched: NCCL_DEBUG is '{level}', which does not tell the network; unset it")
        return False
    return True


def guard(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Check this node, run the command, and return the exit code."""
    skip = skipped(environment)
    missing = node_checks.missing(
        options.kind, options.accelerators, options.efa, skip=skip, root=options.root, environment=environment
    )
    if missing:
        many = f"{len(missing)} things are missing" if len(missing) > 1 else "something is missing"
        listed = "".join(f"\n  {what}" for what in missing)
        say(
            f"node '{os.uname().nodename}' cannot run this, {many}:{listed}\n  ({SKIP}=NAME leaves a check out)"
        )
        return UNAVAILABLE
    variables, logs = dict(environment), None
    if options.kind == "gpu":
        variables = nccl_environment(options.logs, environment)
        if watched(options, skip, environment):
            logs = fabric_log.Logs(variables["NCCL_DEBUG_FILE"])
        try:
            options.logs.mkdir(parents=True, exist_ok=True)
            if environment.get("LOCAL_RANK", "0") == "0":
                fabric_log.set_aside(options.logs, os.uname().nodename)
        except OSError as error:
            say(f"NCCL's logs cannot be written to '{options.logs}': {error}; give --logs a writable folder")
            return UNAVAILABLE
    command = Command()
    try:
        command.start(options.command, variables)
    except OSError as error:
        say(f"'{options.command[0]}' cannot be started: {error}")
        return 127
    watch = FabricWatch(command, logs) if logs else None
    if watch:
        watch.start()
    code = command.wait()
    if watch:
        watch.join()
    if logs and watch and not watch.wrong:
        # A run shorter than a pause, or one that failed at once, has still told its network.
        logs.read()
        watch.wrong = logs.wrong
    if watch and watch.wrong:
        say(
            f"NCCL does not run over efa, which this run was promised: {watch.wrong}\n"
            "  Look above that line in the log for what the plugin said. Usual reasons: the security group does not "
            "allow all traffic to and from itself, the container was not given /dev/infiniband, or another NCCL "
            "plugin comes first.\n"
            f"  ({SKIP}=fabric runs over TCP all the same)"
        )
        return WRONG_FABRIC
    return code


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(description="check a node, then run a command on it", allow_abbrev=False)
    parser.add_argument("--kind", choices=["gpu", "neuron"], required=True, help="what the ranks run on")
    parser.add_argument("--accelerators", type=_count, required=True, help="accelerators that must be here")
    parser.add_argument("--efa", type=_count, required=True, help="EFA interfaces that must be here")
    parser.add_argument("--fabric", choices=["efa"], help="the network that NCCL must choose")
    parser.add_argument(
        "--nodes", type=_count, default=2, help="how many take part: of one alone nothing is expected"
    )
    parser.add_argument("--node-rank", type=_count, required=True, help="0 where rank 0 runs")
    parser.add_argument(
        "--logs", type=Path, required=True, help="folder for NCCL's logs, shared by the nodes"
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help="where sys and dev lie, for tests")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what to run, after --")
    return parser.parse_args(words)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0")
    return int(text)


def main() -> int:
    """Run the guard of this process's command line and environment."""
    options = arguments()
    try:
        return guard(options, os.environ)
    except ValueError as error:
        say(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
