"""A stage of a workload on a node: its command runs once, and a marker says that it is done.

The marker is a file DIGEST.done in the stage's folder, which all runs share; the digest is that of the stage's
description: its program's words, its variables and its image. Runs whose stage has the same description share the
marker. It is written when the command has ended with 0 on every node.

    python3 stage.py --marker=FOLDER --describe=JSON --node=0 --nodes=1 -- COMMAND

Where the marker is there, nothing is started and the exit code is 0. A marker names the results that the command made
by whole_folder.py, and counts only while these are at their names: the same stage with other options replaces them.
TRAINFORGE_STAGE_AGAIN is the id of a launch that wants the stage to run once more: a marker counts for that launch when
it has the id, so a job that is restarted does not run the stage each time.

Of several jobs at once one runs the command, and the others wait for it (stage_lock.py). Node 0 decides for all nodes
of its job; they leave their messages in the run's folder.

Exit codes: the command's own (128 and the number when a signal ended it), on node 0 another node's that failed. And 2
for a wrong command line, 69 when the marker or the lock cannot be written, 79 when another job has taken the stage over
because no heartbeat of this one was seen, 127 when the command cannot be started. The standard library alone: this runs
in every image.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from child_processes import Children
from durations import seconds
from exit_codes import LOST_NODE, UNAVAILABLE, keep, of_process
from goodput import job_of
from nodes_folder import ENDED, NodesFolder
from stage_lock import StageLock, owner_of
from whole_folder import DIGEST, RESULTS, are_there, recorded

AGAIN = "TRAINFORGE_STAGE_AGAIN"
"""The variable with the id of a launch for which a stage runs again, although its marker is there."""

MAX_LAUNCHES = 50
"""The ids of launches that a marker keeps, the newest last: our choice."""

HEARTBEAT_SECONDS = 5
"""Seconds between two signs of life of the job that runs a stage, and between two looks of the others: our choice."""

LOST_SECONDS = 120
"""For how long such a job may be silent, in seconds: our choice, as the supervisor's."""

_REMINDER_SECONDS = 300
"""Seconds between two messages of a job that waits for another one."""

_RUN = "run"
"""The message of node 0 that the command is to run."""

_SKIPPED = "skipped"
"""The message of a node that saw the stage done and ran nothing; its text is the marker that it saw."""

_DIGITS = 16


def say(message: str) -> None:
    """Tell a person, on standard error and at once."""
    sys.stderr.write(f"stage: {message}\n")
    sys.stderr.flush()


def digest(description: object) -> str:
    """Return the digest of a description."""
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a stage, in seconds."""

    heartbeat: int
    lost: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Times:
        """Return the times that variables give, and the defaults for all others.

        Raises:
            ValueError: a variable is no whole number.
        """
        return cls(
            seconds(environment, "TRAINFORGE_HEARTBEAT_SECONDS", HEARTBEAT_SECONDS),
            seconds(environment, "TRAINFORGE_LOST_SECONDS", LOST_SECONDS),
        )


class Stage:
    """A stage on this node."""

    def __init__(self, options: argparse.Namespace, environment: Mapping[str, str]) -> None:
        self.name = options.marker.name
        self.node = options.node
        self.nodes = range(options.nodes)
        self.command = options.command
        self.times = Times.of(environment)
        self.again = environment.get(AGAIN, "")
        self.run_folder = Path(environment["RUN_FOLDER"])
        self.description = options.describe
        known = digest(self.description)
        self.results = self.run_folder / "results" / known
        self.environment = {**environment, DIGEST: known, RESULTS: str(self.results)}
        self.marker = options.marker / f"{known}.done"
        self.lock = StageLock(options.marker / f"{known}.lock", _owner(self.run_folder, environment))
        self.messages = NodesFolder(self.run_folder / "stage" / _start_of(environment))

    def run(self) -> int:
        """Run the command, or wait for the job that runs it, and return the exit code."""
        if self._is_done():
            return self._skip()
        try:
            return self._follow() if self.node else self._lead()
        except OSError as error:
            say(
                f"'{self.name}' cannot say in '{self.marker.parent}' that it runs or is done: {error}; "
                "the shared file system must be writable for who runs a stage that is not done"
            )
            keep(UNAVAILABLE, self.run_folder / "nccl")
            return UNAVAILABLE

    def _content(self) -> dict[str, Any]:
        """Return what the marker says; empty where it is not there, or says nothing."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self.marker.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        return {}

    def _is_done(self) -> bool:
        """Return whether the marker is there, for this launch, and its results are at their names."""
        if not self.marker.exists():
            return False
        done = self._content()
        if self.again and self.again not in done.get("again", []):
            return False
        return are_there({self._path(name): made for name, made in done.get("results", {}).items()})

    def _path(self, name: str) -> str:
        """Return the path of a result by its name in the marker, which is relative: file systems are moved."""
        return os.path.normpath(f"{self.marker.parent}/{name}")

    def _skip(self) -> int:
        done = self._content()
        if self.node:
            # Node 0 may look later, when the result has been replaced, and would wait for this node.
            with contextlib.suppress(OSError):
                self.messages.make()
                self.messages.tell(self.node, _SKIPPED, self._seen(done))
        by = f" since {done['done']}, by {done['job']}" if {"done", "job"} <= set(done) else ""
        say(f"'{self.name}' is done{by}: '{self.marker}' is there, and nothing is run")
        return 0

    def _lead(self) -> int:
        """Do what node 0 does: take the lock, and write the marker when all nodes have ended well."""
        self.marker.parent.mkdir(parents=True, exist_ok=True)
        if not self._take_lock():
            return self._skip()
        try:
            before = self._content()
            if before and not self.again:
                say(
                    f"'{self.name}' runs again: what it made since {before.get('done', '?')} is not there any more, or "
                    "the same stage with other options has replaced it"
                )
            self.marker.unlink(missing_ok=True)
            shutil.rmtree(self.results, ignore_errors=True)
            children = Children()
            if len(self.nodes) > 1:
                self.messages.make()
                self.messages.tell(0, _RUN)
            code = self._run(children) or self._others(children, self._seen(before))
            if code == 0:
                self._write_marker(before.get("again", []))
            return code
        finally:
            self.lock.release()

    def _take_lock(self) -> bool:
        """Take the lock; return False where another job has done the stage meanwhile."""
        seen, since, told = "", time.monotonic(), -float(_REMINDER_SECONDS)
        while not self.lock.take():
            content, now = self.lock.content(), time.monotonic()
            if content != seen:
                seen, since = content, now
            silent = now - since
            if self.lock.is_own_run(content) or silent >= self.times.lost:
                say(
                    f"the lock '{self.lock.path}' of {_named(content)} is taken over: it is of a job that was killed"
                )
                self.lock.take_away(content)
                continue
            if now - told >= _REMINDER_SECONDS:
                told = now
                say(f"'{self.name}' is run by {_named(content)}; this job waits for it")
            time.sleep(min(self.times.heartbeat, max(self.times.lost - silent, 0.1)))
            if self._is_done():
                return False
        if self._is_done():
            # Done between the look at the marker and the lock.
            self.lock.release()
            return False
        return True

    def _follow(self) -> int:
        """Do what other nodes do: run when node 0 says so, and tell it how that ended."""
        self.messages.make()
        while self.messages.read(0, _RUN) is None:
            if self._is_done():
                return self._skip()
            time.sleep(min(self.times.heartbeat, 1))
        code = self._run(Children())
        self.messages.tell(self.node, ENDED, str(code))
        return code

    def _run(self, children: Children) -> int:
        """Run the command and return its exit code; node 0 leaves heartbeats meanwhile."""
        try:
            command = children.start(self.command, self.environment, ends_with_us=True)
        except OSError as error:
            say(f"'{self.command[0]}' cannot be started: {error}")
            return 127
        lost = False
        while not children.wait(self.times.heartbeat):
            if not lost and not self._beat():
                lost = True
                children.send(signal.SIGTERM)
        return LOST_NODE if lost else of_process(command.returncode)

    def _beat(self) -> bool:
        """Leave a heartbeat of the job; return whether the stage is still this job's."""
        if self.node:
            return True
        # A file system that hangs for a while is no reason to stop; another job that has the lock is.
        with contextlib.suppress(OSError):
            if self.lock.is_lost():
                say(
                    f"'{self.name}' was taken over by {_named(self.lock.content())}, which saw no heartbeat of this job"
                )
                return False
            self.lock.beat()
        return True

    def _seen(self, done: Mapping[str, Any]) -> str:
        """Return a text for a marker by its content, as this launch takes it."""
        return f"{self.again} {done.get('done')} {done.get('job')}"

    def _others(self, children: Children, removed: str) -> int:
        """Wait until all other nodes have ended, and return the exit code of the first that failed.

        `removed` is the marker that was there: who went by it has run nothing.

        A node that is lost is the scheduler's affair: it ends the job, or starts the node again.
        """
        for node in self.nodes[1:]:
            while (told := self.messages.read(node, ENDED)) is None:
                if self.messages.read(node, _SKIPPED) == removed:
                    say(
                        f"node {node} found '{self.name}' done, and its result was replaced since: start it again"
                    )
                    return LOST_NODE
                children.wait(min(self.times.heartbeat, 1))
                if children.received or not self._beat():
                    return LOST_NODE
            if int(told):
                say(f"node {node} ended with exit code {told}: see its log")
                return int(told)
        return 0

    def _write_marker(self, launches: list[str]) -> None:
        """Write the marker: no reader sees a part of it, and it outlasts a node that fails now.

        `launches` are the ids of those for which the stage has run again before.
        """
        again = [*launches, *([self.again] if self.again else [])][-MAX_LAUNCHES:]
        content = {
            "stage": self.name,
            "done": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
            "job": _owner(self.run_folder, self.environment)["job"],
            "exit_code": 0,
            "description": self.description,
            "words": self.command,
            "results": {
                os.path.relpath(name, self.marker.parent): made
                for name, made in recorded(self.results).items()
            },
            "again": again,
        }
        unfinished = self.marker.with_name(f"{self.marker.name}.{os.getpid()}.writing")
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(f"{json.dumps(content, indent=2)}\n")
            file.flush()
            os.fsync(file.fileno())
            # All who share the file system share the stage.
            os.fchmod(file.fileno(), 0o644)
        os.replace(unfinished, self.marker)
        say(f"'{self.name}' is done: '{self.marker}'")


def _owner(run_folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a lock says of its job."""
    job = job_of(environment)
    return {
        "job": f"job {job}" if job else f"run {run_folder.name}",
        "host": os.uname().nodename,
        "run": str(run_folder),
    }


def _named(content: str) -> str:
    owner = owner_of(content)
    return f"{owner.get('job', 'a job')} on '{owner.get('host', '?')}'"


def _start_of(environment: Mapping[str, str]) -> str:
    """Return a name for this start of the job, equal on its nodes, where the scheduler has one."""
    job = environment.get("SLURM_JOB_ID")
    if job:
        return f"{job}.{environment.get('SLURM_RESTART_COUNT') or '0'}"
    job = environment.get("AWS_BATCH_JOB_ID", "").partition("#")[0]
    if job:
        return f"{job}.{environment.get('AWS_BATCH_JOB_ATTEMPT', '1')}"
    # A Job of Kubernetes, which a JobSet makes for each start.
    return environment.get("JOB_UID") or "messages"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        description="run the command of a stage that is not done", allow_abbrev=False
    )
    parser.add_argument("--marker", type=Path, required=True, metavar="FOLDER", help="the stage's folder")
    parser.add_argument(
        "--describe", type=json.loads, required=True, metavar="JSON", help="what the stage does"
    )
    parser.add_argument("--node", type=int, default=0, help="the number of this node, 0 where rank 0 runs")
    parser.add_argument("--nodes", type=int, default=1, help="how many nodes the job has")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what to run, after --")
    return parser.parse_args(words)


def main() -> int:
    """Run the stage of this process's command line."""
    # Before there is a command, an interrupt ends this program without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    options = arguments()
    try:
        stage = Stage(options, os.environ)
    except ValueError as error:
        say(str(error))
        return 2
    return stage.run()


if __name__ == "__main__":
    sys.exit(main())
