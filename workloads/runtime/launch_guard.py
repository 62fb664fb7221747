"""The launch guard: it ends, with a message, a run whose nodes lack resources or that makes no progress.

Before the program starts it counts accelerators and EFA interfaces as the program would see them, and loads NCCL's
OFI plugin. While the program runs, rank 0's guard reads NCCL's own log and ends a run that fell to TCP, which would
train many times slower without a message, or whose log does not name its network. The guards of all nodes end a run
that makes no progress, after its stacks and flight recorders were written (progress_watch.py). TRAINFORGE_GUARD_SKIP,
names with commas, leaves checks out.

    python3 launch_guard.py --kind gpu --accelerators 8 --efa 32 --fabric=efa --node-rank 0 --logs FOLDER -- COMMAND

Exit codes: the command's own (128 and the number when a signal ended it), except where a rank has reported that the
same start would fail again: then the rank's, since torchrun ends with 1 whatever its ranks end with. Further: 2 for a
wrong command line, 69 when the node lacks something, 76 when NCCL chose another network or does not say which, 80 when
the run made no progress, 81 when the command ended well and a metric of its lines missed a bound (--at-least,
--at-most), 82 when the node has a fault and TRAINFORGE_HEALTH asks for its termination (node_health.py), 127 when the
command cannot be started. A code that another start would only repeat is written to
`final_exit_code` of the run's folder, for whoever starts the run again. The standard library alone: this runs in every
image. The health checks (health/) share its look at devices."""

from __future__ import annotations

import argparse
import functools
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import batch_host
import fabric_log
import node_checks
import node_health
import stall_report
from derived_metrics import StepSize
from durations import seconds
from exit_codes import (
    MISSED,
    STALLED,
    UNAVAILABLE,
    UNHEALTHY,
    USAGE,
    WRONG_FABRIC,
    forget_stop,
    keep,
    of_ranks,
)
from fabric_watch import MEETING_SECONDS, FabricWatch, nccl_environment
from goodput import job_of
from program import Command
from progress_metrics import Bound, Metrics
from progress_watch import Place, ProgressWatch
from run_progress import Allowed

RECORDED_COLLECTIVES = 2000
"""Collectives that torch's flight recorder keeps of each rank: our choice, dozens of steps of a large model."""

COLLECTIVE_SECONDS = 1800
"""Least timeout of a collective, in seconds: longer than a checkpoint on a slow file system takes."""

COLLECTIVE_MARGIN_SECONDS = 300
"""Seconds that a collective may wait beyond the guard's own allowance, so that it is the guard that ends the run."""

GIVEN_SECONDS = {"TRAINFORGE_START_SECONDS": "start_seconds", "TRAINFORGE_STALL_SECONDS": "stall_seconds"}
"""Variables that take the place of options: a job definition of Batch is rendered once for jobs with several."""

SKIP = "TRAINFORGE_GUARD_SKIP"
CHECKS = ("accelerators", "efa", "plugin", "fabric", "health", "stall")


def say(message: str) -> None:
    """Print to standard error, without a buffer."""
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
    """Return whether NCCL must run over efa: in a run of several nodes that requires it."""
    return (
        options.fabric is not None and options.kind == "gpu" and options.nodes != 1 and "fabric" not in skip
    )


def first(options: argparse.Namespace, environment: Mapping[str, str]) -> bool:
    """Return whether rank 0 is behind this guard: there is one per node, or one per rank."""
    return bool(options.node_rank == 0) and environment.get("LOCAL_RANK", "0") == "0"


def prints(options: argparse.Namespace, environment: Mapping[str, str]) -> bool:
    """Return whether the lines of progress come by this guard, or the first of those that every node prints.

    Those of the last rank come by the last guard.
    """
    if not options.last_rank:
        return first(options, environment)
    return bool(options.node_rank == _guards(options) - 1)


def _guards(options: argparse.Namespace) -> int:
    """Return how many guards watch the run."""
    return int(options.nodes if options.guards is None else options.guards)


def _has_guard_of_run(options: argparse.Namespace) -> bool:
    """Return whether the run's progress is watched from here: of an MPI program by node 0's guard alone."""
    return options.guards is None or bool(options.node_rank < options.guards)


def guard(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Check this node, run the command, and return the exit code."""
    skip = skipped(environment)
    if first(options, environment):
        forget_stop(options.logs)
    watched = options.stall_seconds and _has_guard_of_run(options)
    if watched:
        _take_given(options, environment)
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
    if "health" not in skip and environment.get("LOCAL_RANK", "0") == "0":
        code, reason = node_health.check(environment, options.efa, options.root)
        if code:
            say(f"node '{os.uname().nodename}' is not healthy: {reason}\n  ({SKIP}=health runs on it anyway)")
            return code
    variables, logs = dict(environment), None
    if options.kind == "gpu":
        efa = promised(options, skip)
        variables, changed = nccl_environment(options.logs, environment, watched=efa)
        if efa and first(options, environment):
            logs = fabric_log.Logs(variables["NCCL_DEBUG_FILE"])
            if changed:
                say(
                    f"so that NCCL logs its network, {'; '.join(changed)} ({SKIP}=fabric leaves it as it was)"
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
    variables |= _unbuffered(variables)
    if not watched or "stall" in skip:
        return _run(options, variables, logs, None)
    try:
        temporary = tempfile.TemporaryDirectory(prefix="trainforge-", ignore_cleanup_errors=True)
    except OSError as error:
        where = f"node '{os.uname().nodename}' has no folder for its ranks' heartbeats: {error}"
        say(f"{where}; let TMPDIR name one that can be written ({SKIP}=stall runs without them)")
        return UNAVAILABLE
    with temporary as folder:
        heartbeats = Path(folder)
        variables |= _told(options, heartbeats, variables)
        return _run(options, variables, logs, heartbeats)


def _run(
    options: argparse.Namespace,
    environment: Mapping[str, str],
    logs: fabric_log.Logs | None,
    heartbeats: Path | None,
) -> int:
    command = Command()
    fabric = FabricWatch(command, logs, options.start_seconds, say) if logs else None
    metrics = Metrics(options.bounds or () if prints(options, environment) else (), _step_size(options))
    progress = _progress_watch(options, environment, command, heartbeats, metrics) if heartbeats else None
    watches = [watch for watch in (fabric, progress) if watch is not None]

    def progressed(found: Mapping[str, float]) -> None:
        metrics.take(found)
        if fabric:
            fabric.progressed()

    try:
        if progress:
            progress.prepare()
    except OSError as error:
        say(
            f"the run's folder '{options.logs.parent}' cannot be written: {error}; give --logs a writable folder"
        )
        return UNAVAILABLE
    try:
        pattern = options.progress if watches or options.bounds else None
        command.start(options.command, environment, progress=pattern, progressed=progressed)
    except OSError as error:
        say(f"'{options.command[0]}' cannot be started: {error}")
        return 127
    for watch in watches:
        watch.start()
    code = command.wait()
    if code == UNHEALTHY:
        # A program's own code has another meaning, and must not have the host terminated.
        code = 1
    if progress:
        progress.close(code)
        if progress.stalled:
            longer = " and ".join(sorted(GIVEN_SECONDS))
            say(
                f"ended with exit code {STALLED} ({longer} give more time, {SKIP}=stall leaves such a run alone)"
            )
            return STALLED
    failure = fabric.close(code) if fabric else ""
    if failure:
        say(f"{failure}\n  ({SKIP}=fabric runs it anyway)")
        return WRONG_FABRIC
    if code == 0 and not metrics.passed(say):
        return MISSED
    if code and heartbeats:
        code = of_ranks(code, [rank["exit_code"] for rank in stall_report.heartbeats(heartbeats)])
    if code and USAGE in command.rank_codes:
        # A program without our helpers reports nothing; of its codes only argparse's has a meaning.
        code = USAGE
    if code == USAGE and first(options, environment):
        say(
            f"the program refused its arguments or its environment (exit code {USAGE}); its own message is above. "
            "The same start would fail again: nothing is retried"
        )
    return code


def _step_size(options: argparse.Namespace) -> StepSize:
    ranks = options.ranks_per_node and options.ranks_per_node * options.nodes
    return StepSize(ranks, options.step_samples, options.sample_tokens, options.peak_tflops)


def _take_given(options: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Take seconds of the environment in place of the options'.

    Raises:
        ValueError: one is no whole number from 1.
    """
    for name, option in GIVEN_SECONDS.items():
        setattr(options, option, seconds(environment, name, getattr(options, option)))


def _unbuffered(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that keeps Python from holding back lines: a line in a buffer is a run that looks hung."""
    return {} if "PYTHONUNBUFFERED" in environment else {"PYTHONUNBUFFERED": "1"}


def _told(options: argparse.Namespace, heartbeats: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which ranks tell of their progress, and record their collectives.

    What is set already stays. The names are those of torch 2.13; TORCH_NCCL_TRACE_BUFFER_SIZE is the older one of
    TORCH_FR_BUFFER_SIZE, which NCCL's pipe still asks for.
    """
    longest = max(options.start_seconds, options.stall_seconds) + COLLECTIVE_MARGIN_SECONDS
    variables = {
        "TRAINFORGE_HEARTBEAT_FOLDER": str(heartbeats),
        "TRAINFORGE_GUARD_PROCESS": str(os.getpid()),
        "TRAINFORGE_COLLECTIVE_SECONDS": str(max(COLLECTIVE_SECONDS, longest)),
        "TORCH_FR_BUFFER_SIZE": str(RECORDED_COLLECTIVES),
    }
    if options.kind == "gpu":
        dumps = str(options.logs / "flight_recorder_rank_")
        variables |= {
            "TORCH_NCCL_TRACE_BUFFER_SIZE": str(RECORDED_COLLECTIVES),
            "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
            "TORCH_FR_DUMP_TEMP_FILE": dumps,
            "TORCH_NCCL_DEBUG_INFO_TEMP_FILE": dumps,
            "TORCH_NCCL_DEBUG_INFO_PIPE_FILE": str(heartbeats / stall_report.PIPE),
        }
    ours = ("TRAINFORGE_HEARTBEAT_FOLDER", "TRAINFORGE_GUARD_PROCESS")
    return {name: value for name, value in variables.items() if name in ours or name not in environment}


def node_name(environment: Mapping[str, str], root: Path) -> str:
    """Return the name that metrics of this node have too: several nodes of Slurm may share a machine, and a container
    of Batch or Kubernetes has a name of its own."""
    return (
        environment.get("SLURMD_NODENAME")
        or batch_host.node_name(environment, root)
        or environment.get("TRAINFORGE_NODE_NAME")
        or os.uname().nodename
    )


def _progress_watch(
    options: argparse.Namespace,
    environment: Mapping[str, str],
    command: Command,
    heartbeats: Path,
    metrics: Metrics,
) -> ProgressWatch:
    place = Place(
        options.node_rank,
        _guards(options),
        node_name(environment, options.root),
        options.logs.parent,
        heartbeats,
        job_of(environment),
        batch_host.claims(environment, options.root),
    )
    allowed = Allowed(options.start_seconds, options.stall_seconds, MEETING_SECONDS)
    path = environment.get("PATH", os.defpath)
    return ProgressWatch(command, place, allowed, path, say, metrics, writes=prints(options, environment))


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong.

    The command is what follows the first `--`, as it is: argparse would read a later one, which is the command's own.
    """
    words = list(sys.argv[1:] if words is None else words)
    own = words[: words.index("--")] if "--" in words else words
    parser = argparse.ArgumentParser(description="check a node, then run a command on it", allow_abbrev=False)
    parser.add_argument(
        "--kind", choices=["gpu", "neuron", "cpu"], required=True, help="what the ranks run on"
    )
    parser.add_argument("--accelerators", type=_count, required=True, help="accelerators that must be here")
    parser.add_argument("--efa", type=_count, required=True, help="EFA interfaces that must be here")
    parser.add_argument("--fabric", choices=["efa"], help="the network that NCCL must choose")
    parser.add_argument(
        "--nodes", type=_count, default=2, help="number of nodes; for one alone no network is expected"
    )
    parser.add_argument("--guards", type=_count, help="number of guards of the run; by default one per node")
    parser.add_argument(
        "--progress", type=_pattern, help="what a line of each of the program's steps matches"
    )
    parser.add_argument(
        "--last-rank", action="store_true", help="the last rank prints these lines, and not rank 0"
    )
    parser.add_argument(
        "--ranks-per-node", type=_count, help="ranks of a node, for metrics of all ranks together"
    )
    parser.add_argument("--step-samples", type=_count, help="samples of a step over all ranks")
    parser.add_argument("--sample-tokens", type=_count, help="tokens of a sample")
    parser.add_argument("--peak-tflops", type=float, help="the peak of a rank's accelerator")
    for name, least in (("--at-least", True), ("--at-most", False)):
        parser.add_argument(
            name,
            dest="bounds",
            action="append",
            type=functools.partial(_bound, least=least),
            metavar="METRIC:OF:NUMBER",
            help="a bound of a metric of these lines, of its last value, its median or every value",
        )
    parser.add_argument("--start-seconds", type=_count, default=900, help="how long the first may take")
    parser.add_argument(
        "--stall-seconds",
        type=_count,
        default=0,
        help="how long the run may make no progress afterwards; 0: that is not watched",
    )
    parser.add_argument("--node-rank", type=_count, required=True, help="0 where rank 0 runs")
    parser.add_argument(
        "--logs", type=Path, required=True, help="folder for NCCL's logs, in the run's, which the nodes share"
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help="where sys and dev lie, for tests")
    parser.add_argument("command", nargs="*", metavar="-- COMMAND", help="what to run")
    options = parser.parse_args(own)
    options.command = words[len(own) + 1 :]
    if not options.command:
        parser.error("give the command to run after '--'")
    return options


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0")
    return int(text)


def _bound(text: str, *, least: bool) -> Bound:
    try:
        return Bound.parse(text, least=least)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a regular expression: {error}") from error


def main() -> int:
    """Run the guard of this process's command line and environment."""
    options = arguments()
    try:
        code = guard(options, os.environ)
    except ValueError as error:
        say(str(error))
        code = 2
    keep(code, options.logs)
    return code


if __name__ == "__main__":
    sys.exit(main())
