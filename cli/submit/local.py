"""Submission to this machine: the script runs in bash until it ends."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from catalog.cluster_info import ClusterInfo
from cli.submit.local_process import run_here
from cli.submit.run_progress import RunProgress, echo, lines_of
from cli.submit.submission import Submission, SubmissionError, SubmittedJob, run_text
from workloads.local_environment import is_made, requirements_of
from workloads.restarts import FINAL_FILE, MAX_LOCAL_RESTARTS
from workloads.spec import Run


def with_run_id(run: Run) -> Run:
    """Return a run with an id: no scheduler gives one here. Two that start in the same second differ too."""
    if run.id:
        return run
    return replace(run, id=f"{run.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}")


def local_submission(run: Run, info: ClusterInfo, text: str) -> Submission:
    """Return how a script is run here. The command ends with it, and with its exit code."""
    environment = _own_environment()
    folder = Path(info.shared_folder) / run.folder / run.id
    log = folder / "launch.log"

    def wait() -> int:
        try:
            restarts = MAX_LOCAL_RESTARTS if run.resumes else 0
            progress = RunProgress(run, echo)
            code = run_here(
                text, environment, log, restarts=restarts, final=folder / FINAL_FILE, read=progress.read_line
            )
            return progress.finish(code, lambda: lines_of(log))
        except BlockingIOError as error:
            raise SubmissionError(
                f"run '{run.id}' is running here already; another '--run-id' starts one beside it"
            ) from error
        except OSError as error:
            raise SubmissionError(f"'{log}' cannot be written: {error.strerror or error}") from error

    program = _program(run)
    obstacle = ""
    if requirements_of(run.workload.name) and not is_made(run.workload.name):
        target = f"make env-{run.workload.name}"
        obstacle = (
            f"{run.workload.name} runs here in an environment of its own; '{target}' makes it, or renews it"
        )
    elif not shutil.which(program, path=environment["PATH"]):
        obstacle = (
            f"'{program}' is not on this machine; 'make setup-train' brings what workloads need to run here"
        )
    return Submission(
        "this machine",
        f"bash; it logs here and to {log}",
        _words(run, info, folder),
        # What it waits for has ended here before.
        lambda after=(): SubmittedJob(wait, again=run.id),  # noqa: ARG005
        obstacle,
        here=True,
    )


def _words(run: Run, info: ClusterInfo, folder: Path) -> str:
    if folder.exists():
        return run_text(run, info, "")
    again = "resumes" if run.resumes else "starts"
    return f"'{run.id}', a new one; if it stops, the same command with this --run-id {again} it"


def _program(run: Run) -> str:
    """Return the program that the launch line begins with."""
    return run.workload.launcher.executable or run.workload.program.words("")[0]


def _own_environment() -> dict[str, str]:
    """Return the environment of a local run: the user's programs, and after them those beside our interpreter."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    return {**os.environ, "PATH": path}
