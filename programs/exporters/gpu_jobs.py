"""The map from a node's GPUs to Slurm's jobs, for dcgm-exporter: run by Slurm's prolog and epilog.

dcgm-exporter reads a folder (`--hpc-job-mapping-dir`, DCGM_HPC_JOB_MAPPING_DIR) in which a file is named by the index
of a GPU, or by GPU and MIG instance (`2.0`), and has a job's id on each line; its metrics of that GPU then have the
label `hpc_job` (its README, "How to include HPC jobs in metric labels", and hpc.go, commit d5e5f51).

A prolog that fails drains its node, so a folder that cannot be written is a message and no failure.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path("/run/trainforge/gpu-jobs")
"""The default folder: it is empty after a boot, when no job runs."""

GPUS, JOB = "SLURM_JOB_GPUS", "SLURM_JOB_ID"
"""Variables of Slurm's prolog and epilog on a node: the indices of the job's GPUs there, with commas, and its id."""

USAGE = 2

_NAME = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_LOCK = ".lock"


def add(folder: Path, job: str, gpus: Sequence[str]) -> None:
    """Write the job into the files of its GPUs; a second time changes nothing.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _locked(folder):
        for gpu in gpus:
            jobs = _jobs(folder / gpu)
            if job not in jobs:
                _write(folder / gpu, [*jobs, job])


def remove(folder: Path, job: str) -> None:
    """Take the job out of all files, whatever GPUs it had; a file without jobs is deleted.

    Raises:
        OSError: the folder cannot be written.
    """
    if not folder.is_dir():
        return
    with _locked(folder):
        for path in sorted(folder.iterdir()):
            if _NAME.fullmatch(path.name) and job in (jobs := _jobs(path)):
                _write(path, [one for one in jobs if one != job])


def gpus_of(text: str) -> list[str]:
    """Return the GPUs in a list with commas.

    Raises:
        ValueError: one is no index.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in names if not _NAME.fullmatch(name)]
    if wrong:
        raise ValueError(
            f"{GPUS} is '{text}': '{', '.join(wrong)}' is no index of a GPU, such as '0' or '2.0'"
        )
    return names


def _jobs(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").split()
    except FileNotFoundError:
        return []


def _write(path: Path, jobs: Sequence[str]) -> None:
    """Replace a file as a whole: dcgm-exporter reads it at any moment."""
    if not jobs:
        path.unlink(missing_ok=True)
        return
    draft = path.with_name(f".{path.name}")
    draft.write_text("".join(f"{job}\n" for job in jobs), encoding="ascii")
    draft.chmod(0o644)
    os.replace(draft, path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: jobs that share a node start and end at the same time."""
    with (folder / _LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run the program with these words of a command line, and return its exit code."""
    parser = argparse.ArgumentParser(
        description="write which job has which GPU of this node, for dcgm-exporter", allow_abbrev=False
    )
    parser.add_argument("action", choices=["add", "remove"], help="add in the prolog, remove in the epilog")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the folder that dcgm-exporter reads")
    options = parser.parse_args(list(words))
    job = environment.get(JOB, "")
    if not (job.isascii() and job.isdecimal()):
        sys.stderr.write(
            f"{JOB} is '{job}', not the number of a job; run this from Slurm's prolog and epilog\n"
        )
        return USAGE
    try:
        if options.action == "add":
            add(options.folder, job, gpus_of(environment.get(GPUS, "")))
        else:
            remove(options.folder, job)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"metrics of GPUs lack the label of job {job}: {error}\n")
    return 0
