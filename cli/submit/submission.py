"""The types of a submission: its target, the call that makes it, and the job that it started."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from catalog.cluster_info import ClusterInfo
from workloads.spec import Run

PATIENCE_SECONDS = 300.0
"""Time for which a failing query about a job is asked again: more than a restart or failover of a controller takes."""

_FINAL = ("Invalid job id", "(NotFound)", "(Forbidden)", "(Unauthorized)", "You must be logged in")
"""Parts of the answers of scontrol and kubectl that another question does not change."""


class SubmissionError(Exception):
    """The submission failed, or its result is unknown; the message has the reason and the next step."""


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """The result of a submission: the job, how to follow and resume it, and how to wait for its end.

    `wait` returns the job's exit code when it has ended. `again` is the command line's `--run-id` for a new job
    that resumes the run. `cancel` is the command that ends the job. `job` is the scheduler's name of it, which
    other jobs may wait for.
    """

    wait: Callable[[], int]
    said: str = ""
    follow: tuple[str, ...] = ()
    again: str = ""
    cancel: str = ""
    job: str = ""


class Send(Protocol):
    """The call that submits a job."""

    def __call__(self, after: Sequence[str] = ()) -> SubmittedJob:
        """Submit the job; it starts when the jobs `after` have ended well."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A prepared submission: its target, its call, its run, and the obstacle that prevents it from this machine.

    `run` is the text with the run's id and folder. `send` raises SubmissionError where nothing was
    started. `here` is true if the run ends with the command. `text` is what is sent where that is not the
    manifest as it was rendered.
    """

    where: str
    call: str
    run: str
    send: Send
    obstacle: str = ""
    here: bool = False
    text: str = ""


def cluster_text(info: ClusterInfo) -> str:
    """Return the text that names a cluster."""
    return f"{info.cluster} '{info.cluster_name}' in {info.region}"


def run_text(run: Run, info: ClusterInfo, default: str) -> str:
    """Return the text with the run's id and folder; `default` is what the scheduler calls one without an id."""
    folder = f"{info.shared_folder}/{run.folder}"
    if run.id:
        begins = (
            "resumes from its last checkpoint, if it has one" if run.resumes else "starts from the beginning"
        )
        return f"'{run.id}', in {folder}/{run.id}; {begins}"
    return f"{default}, in {folder}"


def output_of(program: list[str], text: str) -> str:
    """Run a program with `text` as its input and return what it printed.

    Raises:
        SubmissionError: it ended with another exit code than 0.
    """
    done = subprocess.run(program, input=text, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise SubmissionError(failure(program, done))
    return done.stdout.strip()


def answer_of(program: list[str], pause_seconds: float) -> str:
    """Return what a query prints, asked again for a while if it fails: a controller that restarts ends no wait.

    Raises:
        SubmissionError: it failed for PATIENCE_SECONDS, or says that there is no such job or no right to see it.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return output_of(program, "")
        except SubmissionError as error:
            if any(word in str(error) for word in _FINAL):
                raise
            if time.monotonic() >= until:
                raise SubmissionError(
                    f"{error}; it failed for {PATIENCE_SECONDS:.0f} s, and the job may still be running"
                ) from None
        time.sleep(pause_seconds)


def failure(program: list[str], done: subprocess.CompletedProcess[str]) -> str:
    """Return the message that a program failed, with its output."""
    said = (done.stderr or done.stdout).strip()
    return f"'{shlex.join(program)}' ended with exit code {done.returncode}: {said}"
