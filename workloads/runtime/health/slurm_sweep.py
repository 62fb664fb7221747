"""The sweep of a Slurm cluster: a suite as a job of its own on each idle node, and one verdict over all of them.

    python3 -m health.slurm_sweep --suite standard --folder /fsx/health/sweeps

Nodes that run jobs, are drained or are powered down are left out. The jobs have the lowest priority, and as soon as
another job of the partition waits for nodes the sweep cancels its own there. It needs the agent on the nodes
(node_setup.health), which records and acts as in a prolog; as root, because the agent's log and scontrol are root's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import programs
from .severity import Severity, severity_of
from .suites import SUITES
from .sweep import SUITES as SWEPT
from .sweep import Line, exit_code, of_report, table

PROGRAM = "/opt/trainforge/health/sweep"
"""The agent's script on a node, as the node set-up writes it."""

NICE = 1_000_000
"""The number by which the priority of the jobs is lowered: our choice, above what Slurm's weights add in practice."""

_POLL_SECONDS = 2.0
_PATIENCE_SECONDS = 300.0
"""Time for which squeue is asked again if it fails: more than a restart or failover of slurmctld takes."""

_START_SECONDS = 60
"""Seconds after which an idle node that did not start its job counts as busy: our choice."""

_COMMAND_SECONDS = 60
_MARGIN_MINUTES = 5
_READ_SECONDS = 10
"""Seconds for a report to be seen here after its job has ended: a shared file system may lag."""

_WAITS_FOR_NODES = ("Resources", "Priority")
"""Reasons of a pending job that takes nodes as they become free (squeue, "Job reason codes")."""


_DRAINED = re.compile(rf"health (?P<severity>{'|'.join(each.word for each in Severity)}): ")
"""The reason of a node that the agent has drained (report.py)."""


class SweepError(Exception):
    """Slurm does not answer; the message has the command and its end."""


@dataclass
class _Job:
    node: str
    partition: str
    id: str
    state: str = "PENDING"
    cancelled: str = ""


class Sweep:
    """A sweep: what it is asked for, and Slurm's commands by `environment`."""

    def __init__(self, given: argparse.Namespace, environment: Mapping[str, str]) -> None:
        self.suite, self.program = given.suite, given.program
        self.partitions: list[str] = given.partition
        self.start_seconds: float = given.start_seconds
        self.environment = environment
        self.name = f"health-sweep-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
        self.folder: Path = given.folder / self.name

    def run(self, say: Callable[[str], None]) -> list[Line]:
        """Check the idle nodes and return the verdicts of all nodes.

        Raises:
            SweepError: Slurm does not answer, or takes no job.
            OSError: the folder of the reports cannot be written.
        """
        lines, jobs = [], []
        idle = {}
        for node, (partition, state, reason) in self._nodes().items():
            if state == "idle":
                idle[node] = partition
            else:
                lines.append(Line(node, None, f"{state}{f': {reason}' if reason else ''}"))
        if not idle:
            return lines
        self.folder.mkdir(parents=True)
        say(f"{len(idle)} idle nodes; reports: {self.folder}")
        try:
            for node, partition in idle.items():
                jobs.append(_Job(node, partition, self._submit(node, partition)))
            self._follow(jobs)
        except BaseException:
            self._call(["scancel", f"--name={self.name}"], check=False)
            raise
        return lines + [self._line(job) for job in jobs]

    def _nodes(self) -> dict[str, tuple[str, str, str]]:
        """Return the partition, the state and the reason of each node; a node of several partitions has the first."""
        chosen = [f"--partition={','.join(self.partitions)}"] if self.partitions else []
        shown = self._call(["sinfo", "--noheader", "--Node", "--format=%N|%P|%T|%E", *chosen])
        found: dict[str, tuple[str, str, str]] = {}
        for line in shown.splitlines():
            node, partition, state, reason = line.split("|", 3)
            reason = "" if reason.strip() == "none" else reason.strip()
            found.setdefault(node.strip(), (partition.strip().rstrip("*"), state.strip(), reason))
        return found

    def _submit(self, node: str, partition: str) -> str:
        minutes = int(SUITES[self.suite].seconds // 60) + _MARGIN_MINUTES
        options = [
            f"--job-name={self.name}",
            f"--partition={partition}",
            f"--nodelist={node}",
            # All processors, memory and devices of the node, so that no other job is on it.
            *("--nodes=1", "--exclusive", "--mem=0", "--no-requeue"),
            f"--nice={NICE}",
            f"--time={minutes}",
            f"--output={self.folder}/{node}.json",
            f"--error={self.folder}/{node}.log",
            f"--wrap=exec {shlex.quote(self.program)} --suite {self.suite}",
        ]
        return self._call(["sbatch", "--parsable", *options]).strip().partition(";")[0]

    def _follow(self, jobs: Sequence[_Job]) -> None:
        """Wait until all jobs have ended; cancel those that do not start, and those that others wait for."""
        started = time.monotonic()
        while True:
            shown = self._call(
                ["squeue", "--noheader", f"--name={self.name}", "--format=%i|%T"], patience=_PATIENCE_SECONDS
            )
            states = dict(line.strip().split("|") for line in shown.splitlines() if "|" in line)
            for job in jobs:
                job.state = states.get(job.id, "")
            running = [job for job in jobs if job.state and not job.cancelled]
            if not any(job.state for job in jobs):
                return
            for job in running:
                if job.state == "PENDING" and time.monotonic() > started + self.start_seconds:
                    self._cancel(job, "busy meanwhile")
            waiting = self._waiting({job.partition for job in running})
            for job in running:
                if job.partition in waiting:
                    self._cancel(job, f"gave way to job {waiting[job.partition]}, which waits for nodes")
            time.sleep(_POLL_SECONDS)

    def _waiting(self, partitions: set[str]) -> dict[str, str]:
        """Return another job that waits for nodes, by partition."""
        if not partitions:
            return {}
        shown = self._call(
            [
                "squeue",
                "--noheader",
                "--states=PENDING",
                f"--partition={','.join(sorted(partitions))}",
                "--format=%i|%P|%r|%j",
            ],
            patience=_PATIENCE_SECONDS,
        )
        found: dict[str, str] = {}
        for line in shown.splitlines():
            job, names, reason, name = line.strip().split("|", 3)
            if reason in _WAITS_FOR_NODES and not name.startswith("health-sweep-"):
                for partition in names.split(","):
                    found.setdefault(partition, job)
        return found

    def _cancel(self, job: _Job, why: str) -> None:
        job.cancelled = why
        self._call(["scancel", job.id], check=False)

    def _line(self, job: _Job) -> Line:
        """Return the verdict of a node by its report; a job that was cancelled may have written it before."""
        deadline = time.monotonic() + (0 if job.cancelled else _READ_SECONDS)
        while True:
            try:
                return of_report(job.node, json.loads((self.folder / f"{job.node}.json").read_text()))
            except (OSError, ValueError, KeyError):
                if time.monotonic() > deadline:
                    break
            time.sleep(0.2)
        if job.cancelled:
            return Line(job.node, None, job.cancelled)
        words = ["sinfo", "--noheader", "--Node", f"--nodes={job.node}", f"--partition={job.partition}"]
        reason = self._call([*words, "--format=%E"], check=False).strip()
        drained = _DRAINED.match(reason)
        if drained:
            # The prolog of our own job found it already.
            return Line(job.node, severity_of(drained["severity"]), reason)
        shown = self._call(["scontrol", "show", "job", job.id], check=False)
        state = re.search(r"\bJobState=(\S+)", shown)
        said = (
            f"no report: job {job.id} is {state[1] if state else 'gone'}; log: {self.folder}/{job.node}.log"
        )
        return Line(job.node, Severity.ERROR, said if reason in ("", "none") else f"{said}; node: {reason}")

    def _call(self, words: Sequence[str], *, check: bool = True, patience: float = 0.0) -> str:
        until = time.monotonic() + patience
        while True:
            done = programs.run(words, _COMMAND_SECONDS, self.environment)
            if done.code == 0 or not check:
                return done.output
            if time.monotonic() >= until:
                raise SweepError(f"'{done.command}' {done.end}")
            time.sleep(_POLL_SECONDS)


def main(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run the sweep and return its exit code: 0, 1 or 3 by the verdict, 2 where it cannot run."""
    parser = argparse.ArgumentParser(
        prog="health.slurm_sweep", description="check the idle nodes of this Slurm cluster"
    )
    add = parser.add_argument
    add("--suite", choices=SWEPT, default=SWEPT[0], help=f"default: {SWEPT[0]}")
    add(
        "--partition",
        action="append",
        default=[],
        help="its nodes alone; may be repeated; default: all nodes",
    )
    add("--folder", type=Path, required=True, help="of the reports; all nodes must see it under this path")
    add("--start-seconds", type=float, default=_START_SECONDS, help=f"default: {_START_SECONDS}")
    add("--program", default=PROGRAM, help=f"the agent on a node; default: {PROGRAM}")
    given = parser.parse_args(words)
    try:
        lines = Sweep(given, environment).run(lambda text: print(text, flush=True))  # noqa: T201 -- a command
    except (SweepError, OSError) as error:
        sys.stderr.write(f"health sweep: {error}\n")
        return 2
    for line in table(lines):
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    return exit_code(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
