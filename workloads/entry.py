"""The script that every node of a run executes, the same for every scheduler but for its variables."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from catalog.cluster_info import ClusterInfo
from catalog.efa import efa_environment
from workloads.launchers import SchedulerVariables, Srun, Torchrun, command, quoted
from workloads.progress import PrintedBy
from workloads.restarts import FINAL_FILE
from workloads.spec import Run

PROGRAM_FOLDER = "/opt/trainforge/workload"
"""Folder of a workload's program in its image."""

RUNTIME_FOLDER = "/opt/trainforge/runtime"
"""Folder of the modules that workloads share, the launch guard among them, in every image."""

LAUNCH_RUNTIME = "base/runtime"
"""Folder of those modules in a launch folder, which holds the programs and manifests of a cluster's jobs."""

CHECKOUT_RUNTIME = "runtime"
"""Folder of those modules in the folder `workloads` of a checkout, which serves as a launch folder too."""

_CHECKOUT = "workloads"

# torchrun dies of SIGUSR1, Slurm's warning before the time limit, unless it is told to pass it on.
_TORCHRUN_SIGNALS = {"PET_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"}


def shipped_folders(run: Run, info: ClusterInfo) -> tuple[str, str]:
    """Return where nodes see the program and the shared modules of a run without a container.

    A launch folder has one folder per workload, and one of the modules that all share. A launch folder with the name
    `workloads` is a checkout's.
    """
    folder = info.launch_folder
    runtime = CHECKOUT_RUNTIME if PurePosixPath(folder).name == _CHECKOUT else LAUNCH_RUNTIME
    return f"{folder}/{run.workload.package}", f"{folder}/{runtime}"


def environment(run: Run) -> dict[str, str]:
    """Return the variables of every rank: the fabric's by the catalog where ranks use it, the preset's, the run's."""
    fabric = efa_environment(run.facts) if run.accelerated else {}
    signals = _TORCHRUN_SIGNALS if isinstance(run.workload.launcher, Torchrun) else {}
    return {**fabric, **signals, **run.preset_environment, **run.environment}


def entry(
    run: Run,
    info: ClusterInfo,
    variables: SchedulerVariables,
    *,
    program_folder: str = PROGRAM_FOLDER,
    runtime_folder: str = RUNTIME_FOLDER,
    line: Sequence[str] | None = None,
    guarded: bool = True,
) -> str:
    """Return the bash script that a node runs: folders, environment, the guard, and the launch line.

    `line`, as words, takes the place of the launcher's own where a scheduler brings its own; one that starts the
    guard itself is not `guarded`. The launch line is the last command and replaces the shell, so that signals reach
    it and its exit code is the job's.
    """
    if line is None:
        line = run.workload.launcher.line(run, variables, program_folder)
    return "\n".join(
        [
            "set -euo pipefail",
            *_folders(run, info, variables, runtime_folder),
            *(f"export {name}={_value(run, name, value)}" for name, value in environment(run).items()),
            *_ranks(run, variables),
            command(["exec", *(guard(run, variables, runtime_folder) if guarded else ()), *line]),
        ]
    )


def _value(run: Run, name: str, value: str) -> str:
    """Return a variable's value as a shell word; what a person gave a run is taken to the letter, with its $."""
    return shlex.quote(value) if name in run.environment else quoted(value)


def run_folder(run: Run, info: ClusterInfo, variables: SchedulerVariables) -> str:
    """Return the run's folder, which all nodes and all starts share, as a shell expression."""
    return f"{info.shared_folder}/runs/{run.workload.name}/{variables.run_id}"


def _folders(
    run: Run, info: ClusterInfo, variables: SchedulerVariables, runtime_folder: str
) -> Iterator[str]:
    shared = info.shared_folder
    yield f'export RUN_FOLDER="{run_folder(run, info, variables)}"'
    data = run.workload.data
    if data:
        yield f'export DATA_FOLDER="{shared}/data/{data.folder}"'
    # Others may not write there: a run resumes from what is in its folder. The folders above keep the caller's mask.
    yield 'mkdir -p "${RUN_FOLDER%/*}"'
    yield "umask 027"
    yield 'mkdir -p "$RUN_FOLDER"'
    if data and data.required:
        yield 'if [ ! -d "$DATA_FOLDER" ]; then'
        yield f'  echo "data folder $DATA_FOLDER of {run.workload.name} is not there" >&2'
        # As the launch guard does: another start would end as this one.
        yield f'  echo 66 > "$RUN_FOLDER/{FINAL_FILE}"'
        yield "  exit 66"
        yield "fi"
    yield f'export PYTHONPATH="{runtime_folder}${{PYTHONPATH:+:$PYTHONPATH}}"'


def _ranks(run: Run, variables: SchedulerVariables) -> Iterator[str]:
    """Tell a program that finds its rank itself where rank 0 is."""
    if isinstance(run.workload.launcher, Srun):
        yield f'export MASTER_ADDR="{variables.rank0_host}"'
        yield f'export MASTER_PORT="{variables.port}"'
        yield f'export WORLD_SIZE="{variables.ranks(run)}"'


def guard(
    run: Run, variables: SchedulerVariables, runtime_folder: str = RUNTIME_FOLDER, *, watch: bool = True
) -> list[str]:
    """Return the launch guard's words; it starts the line that follows and watches it.

    Without `watch` it only looks at the node, which processors need not be.
    """
    if not (run.accelerated or watch):
        return []
    # On one node nothing leaves the machine: there is no provider to expect. How many there are is known here, or
    # only when the job runs.
    expected = watch and run.efa_per_node and variables.nodes != "1"
    progress = run.progress
    # In a word without a $: those with one are expanded by the shell.
    pattern = progress.pattern.replace("$", r"\Z")
    watched = [
        *(["--fabric=efa"] if expected else []),
        f"--nodes={variables.nodes}",
        *([f"--guards={variables.guards}"] if variables.guards else []),
        f"--progress={pattern}",
        f"--start-seconds={progress.start_seconds}",
        f"--stall-seconds={progress.stall_seconds}",
        *(["--last-rank"] if progress.printed_by is PrintedBy.LAST_RANK else []),
        *(option for criterion in progress.criteria for option in criterion.options),
    ]
    return [
        "python3",
        f"{runtime_folder}/launch_guard.py",
        f"--kind={run.kind}",
        f"--accelerators={variables.gpus or run.accelerators_per_node}",
        f"--efa={run.efa_per_node}",
        *(watched if watch else []),
        f"--node-rank={variables.node_rank}",
        "--logs=$RUN_FOLDER/nccl",
        "--",
    ]
