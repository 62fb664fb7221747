"""Submission to Slurm: sbatch, on a machine of the cluster."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from catalog.cluster_info import ClusterInfo
from cli.submit.run_progress import RunProgress, echo, lines_of
from cli.submit.submission import (
    Submission,
    SubmissionError,
    SubmittedJob,
    answer_of,
    cluster_text,
    output_of,
    run_text,
)
from workloads.spec import Run

POLL_SECONDS = 5
"""Seconds between two looks at a job."""

_ENDED = re.compile(
    r"^(BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|REVOKED|TIMEOUT)\b"
)
"""States in which a job stays (squeue's manual, "Job state codes"); PREEMPTED may be requeued."""


def slurm_submission(run: Run, info: ClusterInfo, text: str) -> Submission:
    """Return how a batch script is submitted, from the folder that one is in."""
    partition = info.partitions.get(run.pool.name, run.pool.name)
    pattern = re.search(r"^#SBATCH --output=(.+)$", text, re.MULTILINE)
    assert pattern
    # sbatch resolves a relative path by the folder that it is called in.
    log = str(Path.cwd() / pattern[1])
    folder = f"{info.shared_folder}/runs/{run.workload.name}"

    def send(after: Sequence[str] = ()) -> SubmittedJob:
        # "job" or "job;cluster".
        job = output_of(["sbatch", "--parsable", *_waiting(run, after)], text).partition(";")[0]
        file = log.replace("%x", run.name).replace("%j", job)
        return SubmittedJob(
            lambda: _wait(job, RunProgress(run, echo), Path(folder, run.id or job), Path(file)),
            f"submitted job {job}",
            (f"squeue --jobs {job}", f"tail -F {shlex.quote(file)}"),
            run.id or job,
            f"scancel {job}",
            job,
        )

    queue = f", partition '{partition}'" if partition else ""
    return Submission(
        cluster_text(info) + queue,
        f"sbatch, in this folder; it logs to {log.replace('%x', run.name).replace('%j', 'JOB')}",
        run_text(run, info, "a new one, named after the job's number"),
        send,
        "" if shutil.which("sbatch") else _no_sbatch(info),
    )


def _waiting(run: Run, after: Sequence[str]) -> list[str]:
    """Return the options of a job that waits for others; where one fails it is cancelled, and does not wait for ever.

    An option takes the place of the script's own, which keeps jobs of one run apart (sbatch's manual).
    """
    if not after:
        return []
    dependency = ":".join(["afterok", *after])
    alone = ",singleton" if run.id else ""
    return [f"--dependency={dependency}{alone}", "--kill-on-invalid-dep=yes"]


def _wait(job: str, progress: RunProgress, run_folder: Path, log: Path) -> int:
    """Return the exit code of a job when it has ended: the batch script's, 128 + n for signal n, 1 for any other end.

    Where the run's folder is seen from here, as on a login node, its progress is printed.

    Raises:
        SubmissionError: Slurm does not say.
    """
    while True:
        progress.read_file(run_folder)
        shown = answer_of(["scontrol", "show", "job", job], POLL_SECONDS)
        state, code = re.search(r"\bJobState=(\S+)", shown), re.search(r"\bExitCode=(\d+):(\d+)", shown)
        if not state or not code:
            raise SubmissionError(f"'scontrol show job {job}' does not print its state; it printed: {shown}")
        if _ENDED.match(state[1]):
            progress.read_file(run_folder)
            status, signal = int(code[1]), int(code[2])
            ended = status or (128 + signal if signal else 0)
            return progress.finish(ended if ended or state[1] == "COMPLETED" else 1, lambda: lines_of(log))
        time.sleep(POLL_SECONDS)


def _no_sbatch(info: ClusterInfo) -> str:
    """Say where sbatch is and how to get there."""
    return (
        "'sbatch' is not on this machine; a job is submitted on the cluster's login node. "
        f"Log in: trainforge connect {info.cluster} (of '{info.cluster_name}' in {info.region}; as here with '-c' or "
        "'--cluster-info'). There, sbatch the file that 'trainforge launch --dry-run' shows"
    )
