"""The launch guard: a node that lacks what a run was promised ends it within seconds, in words.

Before the program starts it counts accelerators and EFA interfaces as the program would see them, and loads NCCL's
OFI plugin. While the program runs, rank 0's guard reads NCCL's own log and ends a run that fell to TCP, which would
train many times slower without a word, or whose log does not say. TRAINFORGE_GUARD_SKIP, names with commas, leaves
checks out.

    python3 launch_guard.py --kind gpu --accelerators 8 --efa 32 --fabric=efa --node-rank 0 --logs FOLDER -- COMMAND

Exit codes: the command's own (128 and the number when a signal ended it), 2 for a wrong command line, 69 when the
node lacks something, 76 when NCCL chose another network or does not say which, 127 when the command cannot be
started. The standard library alone: this runs in every image, and health checks import `fabric_log` and `node_checks`
beside it.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import fabric_log
import node_checks
from fabric_watch import FabricWatch, nccl_environment
from program import Command

UNAVAILABLE = 69
"""The node lacks something (EX_UNAVAILABLE of sysexits.h)."""

WRONG_FABRIC = 76
"""NCCL speaks another protocol than promised, or does not say which (EX_PROTOCOL of sysexits.h)."""

SKIP = "TRAINFORGE_GUARD_SKIP"
CHECKS = ("accelerators", "efa", "plugin", "fabric")


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


def promised(options: argparse.Namespace, skip: frozenset[str]) -> bool:
    """Return whether NCCL must run over efa: in a run of several nodes that was promised it."""
    return (
        options.fabric is not None and options.kind == "gpu" and options.nodes != 1 and "fabric" not in skip
    )


def first(options: argparse.Namespace, environment: Mapping[str, str]) -> bool:
    """Return whether rank 0 is behind this guard: there is one a node, or one a rank."""
    return bool(options.node_rank == 0) and environment.get("LOCAL_RANK", "0") == "0"


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
        efa = promised(options, skip)
        variables, changed = nccl_environment(options.logs, environment, watched=efa)
        if efa and first(options, environment):
            logs = fabric_log.Logs(variables["NCCL_DEBUG_FILE"])
            if changed:
                say(
                    f"so that NCCL tells its network, {'; '.join(changed)} ({SKIP}=fabric leaves it as it was)"
                )
        try:
            options.logs.mkdir(parents=True, exist_ok=True)
            if environment.get("LOCAL_RANK", "0") == "0":
                fabric_log.set_aside(options.logs, os.uname().nodename)
        except OSError as error:
            say(f"NCCL's logs cannot be written to '{options.logs}': {error}; give --logs a writable folder")
            return UNAVAILABLE
    elif options.fabric and options.nodes != 1 and first(options, environment):
        say("the fabric is not watched: Neuron's collectives write no NCCL log; FI_PROVIDER decides there")
    return _run(options, variables, logs)


def _run(options: argparse.Namespace, environment: Mapping[str, str], logs: fabric_log.Logs | None) -> int:
    command = Command()
    watch = FabricWatch(command, logs, options.start_seconds, say) if logs else None
    try:
        if watch:
            command.start(
                options.command, environment, progress=options.progress, progressed=watch.progressed
            )
            watch.start()
        else:
            command.start(options.command, environment)
    except OSError as error:
        say(f"'{options.command[0]}' cannot be started: {error}")
        return 127
    code = command.wait()
    failure = watch.close(code) if watch else ""
    if failure:
        say(f"{failure}\n  ({SKIP}=fabric runs all the same)")
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
    parser.add_argument("--progress", type=_pattern, help="what a line of the program's first step matches")
    parser.add_argument("--start-seconds", type=_count, default=900, help="how long that may take")
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


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a regular expression: {error}") from error


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
