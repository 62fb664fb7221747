"""The script that every node of a run executes; between schedulers only its variables differ."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from catalog.cluster_info import ClusterInfo
from catalog.efa import efa_environment
from catalog.neuron import COMPILE_CACHE_VARIABLE, lnc_environment
from workloads.launchers import SchedulerVariables, command, quoted
from workloads.profile import Profiler
from workloads.program import FOLDER_VARIABLE
from workloads.progress import SPEEDS, PrintedBy, Progress
from workloads.restarts import FINAL_FILE
from workloads.spec import Run
from workloads.words import LiteralWord, literal

PROGRAM_FOLDER = "/opt/trainforge/workload"
"""Folder of a workload's program in its image."""

RUNTIME_FOLDER = "/opt/trainforge/runtime"
"""Folder of the modules that workloads share, the launch guard among them, in every image."""

LAUNCH_RUNTIME = "base/runtime"
"""Folder of those modules in a launch folder, which holds the programs and manifests of a cluster's jobs."""

CHECKOUT_RUNTIME = "runtime"
"""Folder of those modules in the folder `workloads` of a checkout, which serves as a launch folder too."""

_CHECKOUT = "workloads"

HUB_HOME = "HF_HOME"
"""The variable of the folder that Hugging Face's libraries keep downloads in (huggingface_hub's documentation,
"Environment variables"); without it that is below the home folder, which a container loses."""

_HUB_TOKEN = "HF_TOKEN"  # noqa: S105 the variable's name
"""The secret's variable that only workloads have whose programs read from Hugging Face."""

_PROFILED = ("python3", "-m", "profiled_rank")

_OURS = "TRAINFORGE_"
"""Prefix of the variables that programs of workloads/runtime read."""


def shipped_folders(run: Run, info: ClusterInfo) -> tuple[str, str]:
    """Return where nodes see the program and the shared modules of a run without a container.

    A launch folder has one folder per workload, and one of the modules that all share. A launch folder with the name
    `workloads` is a checkout's.

    Raises:
        ValueError: the program needs its image.
    """
    program = run.workload.program
    if run.code:
        return folders(run)
    if program.needs_image:
        raise ValueError(
            f"the program '{program}' of '{run.workload.name}' is in its image, and '{info.cluster}' runs it without a "
            "container here; take a cluster or a format that runs its image"
        )
    folder = info.launch_folder
    if PurePosixPath(folder).name == _CHECKOUT:
        own = run.workload.folder
        return str(own or f"{folder}/{run.workload.package}"), f"{folder}/{CHECKOUT_RUNTIME}"
    return f"{folder}/{run.workload.package}", f"{folder}/{LAUNCH_RUNTIME}"


def folders(run: Run) -> tuple[str, str]:
    """Return where the nodes of a run in an image see its program and the shared modules, as shell expressions."""
    code = run.code
    return (code.program_folder, code.runtime_folder) if code else (PROGRAM_FOLDER, RUNTIME_FOLDER)


def unpacking(run: Run) -> str:
    """Return the lines that unpack a run's code, which come first in every script; nothing where it is in its image."""
    return run.code.unpacking if run.code else ""


def environment(run: Run) -> dict[str, str]:
    """Return the variables of every rank: the devices' by the catalog where ranks use them, the preset's, the run's."""
    fabric = efa_environment(run.facts) if run.accelerated else {}
    accelerator = run.facts.accelerator
    cores = lnc_environment(accelerator, run.lnc) if accelerator and run.lnc else {}
    return {
        **fabric,
        **cores,
        **run.workload.launcher.environment,
        **run.preset_environment,
        **run.environment,
        **(run.profile.environment(efa=run.efa_per_node > 0) if run.profile else {}),
    }


def knows_folder(run: Run) -> bool:
    """Return whether PROGRAM_FOLDER is in the environment of a run's ranks."""
    return run.workload.program.knows_folder((*run.arguments, *environment(run).values()))


def program(run: Run, folder: str = "") -> list[str]:
    """Return the words that start one process of a run's program, with its arguments, and nsys where it captures it."""
    under = _PROFILED if run.profile and run.profile.profiler is Profiler.NSYS else ()
    return [*under, *run.workload.program.words(folder or folders(run)[0]), *run.arguments]


def entry(
    run: Run,
    info: ClusterInfo,
    variables: SchedulerVariables,
    *,
    program_folder: str = "",
    runtime_folder: str = "",
    line: Sequence[str] | None = None,
    guarded: bool = True,
) -> str:
    """Return the bash script that a node runs: folders, environment, the guard, and the launch line.

    `line`, as words, takes the place of the launcher's own where a scheduler brings its own; one that starts the
    guard itself is not `guarded`. The launch line is the last command and replaces the shell, so that signals reach
    it and its exit code is the job's.
    """
    in_image = folders(run)
    program_folder, runtime_folder = program_folder or in_image[0], runtime_folder or in_image[1]
    if line is None:
        line = run.workload.launcher.line(run, variables, program(run, program_folder))
    directory = run.workload.program.directory(program_folder)
    return "\n".join(
        [
            "set -euo pipefail",
            *_folders(run, info, variables),
            *(run.code.environment(info.shared_folder) if run.code else ()),
            *_search_path(run, program_folder, runtime_folder),
            *(f"export {name}={_value(run, name, value)}" for name, value in environment(run).items()),
            *(
                f'export {name}="{value}"'
                for name, value in run.workload.launcher.variables(run, variables).items()
            ),
            *([f"cd {quoted(directory)}"] if directory else []),
            command(["exec", *(guard(run, variables, runtime_folder) if guarded else ()), *line]),
        ]
    )


def neuron_cache(run: Run, shared: str) -> dict[str, str]:
    """Return the variable of the folder that all nodes compile graphs into, unless the run or its preset names one."""
    if run.kind != "neuron" or COMPILE_CACHE_VARIABLE in environment(run):
        return {}
    return {COMPILE_CACHE_VARIABLE: f"{shared}/neuron-compile-cache/{run.workload.name}"}


def hub_home(run: Run, shared: str, user: str) -> dict[str, str]:
    """Return the variable of Hugging Face's folder for a workload that reads from there, unless the run names one.

    A folder for each user: it has gated models, whose licence each user accepts, and the token of a user who logs in
    there. A run on the machine of who launches it has that user's own.
    """
    reads = any(secret.variable == _HUB_TOKEN for secret in run.workload.secrets)
    if not reads or run.at_hand or HUB_HOME in environment(run):
        return {}
    return {HUB_HOME: f"{shared}/huggingface/{user}"}


def _value(run: Run, name: str, value: str) -> str:
    """Return a variable's value as a shell word; what a person gave a run is taken to the letter, with its $."""
    return shlex.quote(value) if name in run.environment else quoted(value)


def run_folder(run: Run, info: ClusterInfo, variables: SchedulerVariables) -> str:
    """Return the run's folder, which all nodes and all starts share, as a shell expression."""
    return f"{info.shared_folder}/{run.folder}/{variables.run_id}"


def _folders(run: Run, info: ClusterInfo, variables: SchedulerVariables) -> Iterator[str]:
    shared = info.shared_folder
    yield f'export RUN_FOLDER="{run_folder(run, info, variables)}"'
    if run.stage_name:
        yield f'export STAGE_FOLDER="{shared}/{run.stage_folder}"'
    for asset in run.workload.assets:
        yield f'export {asset.variable}="{asset.path(shared)}"'
    for name, folder in neuron_cache(run, shared).items():
        # Nodes compile a graph once, and later runs do not compile it again.
        yield f'export {name}="{folder}"'
        yield f'mkdir -p "${name}"'
    for name, folder in hub_home(run, shared, variables.user).items():
        # Stages and nodes find what one of them has fetched.
        yield f'export {name}="{folder}"'
        yield f'mkdir -p "${{{name}%/*}}"'
        yield f'(umask 077 && mkdir -p "${name}")'
    # Others may not write there: a run resumes from what is in its folder. The folders above keep the caller's mask.
    yield 'mkdir -p "${RUN_FOLDER%/*}"'
    if run.stage_name:
        # What a stage makes is for all who may read the shared folder.
        yield '(umask 027 && mkdir -p "$RUN_FOLDER")'
    else:
        yield "umask 027"
        yield 'mkdir -p "$RUN_FOLDER"'
    yield from _required_assets(run, info)


def _required_assets(run: Run, info: ClusterInfo) -> Iterator[str]:
    """Yield the lines that end the job where an asset is not there that it cannot do without: with 66, all named."""
    required = run.required_assets
    if not required:
        return
    yield "absent="
    for asset in required:
        makes = asset.command(run.workload.name, run.preset.name, info.cluster)
        shared = run.stage(asset.stage).extra_arguments if asset.stage else ()
        end = f"-- {shlex.join(shared)}'" if shared else ""
        how = f"; make it by '{makes}" + ("" if end else "'") if makes else ""
        told = quoted(
            f"{asset.kind} '{asset.name}' of {run.workload.name} is not there: ${asset.variable}{how}"
        )
        if end:
            # What a person gave: nothing expands in it.
            told += f" {literal(end)}"
        yield f'[ -d "${asset.variable}" ] || {{ echo {told} >&2; absent=yes; }}'
    yield 'if [ -n "$absent" ]; then'
    # As the launch guard does: another start would end as this one.
    yield f'  echo 66 > "$RUN_FOLDER/{FINAL_FILE}"'
    yield "  exit 66"
    yield "fi"


def _search_path(run: Run, program_folder: str, runtime_folder: str) -> Iterator[str]:
    """Let Python find the shared modules, and those of the workload's folder where the program is one of them."""
    if knows_folder(run):
        yield f'export {FOLDER_VARIABLE}="{program_folder}"'
    own = f"${FOLDER_VARIABLE}:" if run.workload.program.in_folder else ""
    packages = run.code.search_path if run.code else ""
    # Folders of workloads are beside each other, in an image too.
    others = "".join(
        f":{PurePosixPath(program_folder).parent / PurePosixPath(path).parent}"
        for path in run.workload.packages
    )
    yield f'export PYTHONPATH="{own}{runtime_folder}{others}{packages}${{PYTHONPATH:+:$PYTHONPATH}}"'


def given_variables(run: Run) -> dict[str, str]:
    """Return the variables of a run that say what it does: all that it was given but those of our own programs."""
    return {name: value for name, value in run.environment.items() if not name.startswith(_OURS)}


def stage_description(run: Run) -> dict[str, object]:
    """Return what makes two runs of a stage the same: the words of its program, its variables and its image.

    Variables of our own programs (TRAINFORGE_...) say how it is run, not what it does.
    """
    return {
        "program": [*run.workload.program.words(""), *run.arguments],
        "environment": {**run.preset_environment, **given_variables(run)},
        "image": str(run.image),
    }


def _stage(run: Run, variables: SchedulerVariables, runtime_folder: str, started: str) -> list[str]:
    """Return the words that run a stage once: what follows is not started where its marker is there."""
    if not run.stage_name:
        return []
    return [
        "python3",
        f"{runtime_folder}/stage.py",
        "--marker=$STAGE_FOLDER",
        LiteralWord(f"--describe={json.dumps(stage_description(run))}"),
        f"--node={variables.node_rank}",
        f"--nodes={started}",
        "--",
    ]


def guard(
    run: Run,
    variables: SchedulerVariables,
    runtime_folder: str = "",
    *,
    watch: bool = True,
    devices: bool = True,
    started: str = "",
) -> list[str]:
    """Return the launch guard's words; it starts the line that follows and watches it.

    Without `watch` it only looks at the node, which processors need not be. Without `devices` the node has none, and
    the guard watches ranks of other nodes. Before it are the words that run a stage
    once; `started` is how often the line is started where that is not the number of guards.
    """
    if not (run.accelerated or watch):
        return []
    # On one node nothing leaves the machine: there is no provider to expect. How many there are is known here, or
    # only when the job runs.
    expected = watch and run.efa_per_node and variables.nodes != "1"
    progress = run.progress
    watched = [
        *(["--fabric=efa"] if expected else []),
        f"--nodes={variables.nodes}",
        *([f"--guards={variables.guards}"] if variables.guards else []),
        *(_told(progress) if progress.pattern else ()),
        *(_step_size(run, variables) if progress.pattern else ()),
        *(["--last-rank"] if progress.printed_by is PrintedBy.LAST_RANK else []),
        *(option for criterion in progress.criteria for option in criterion.options),
    ]
    runtime_folder = runtime_folder or folders(run)[1]
    processes = started or variables.guards or variables.nodes
    return [
        *(_stage(run, variables, runtime_folder, processes) if watch else ()),
        "python3",
        f"{runtime_folder}/launch_guard.py",
        f"--kind={run.kind}",
        f"--accelerators={(variables.gpus or run.accelerators_per_node) if devices else 0}",
        f"--efa={run.efa_per_node if devices else 0}",
        *(watched if watch else []),
        f"--node-rank={variables.node_rank}",
        "--logs=$RUN_FOLDER/nccl",
        "--",
    ]


def _step_size(run: Run, variables: SchedulerVariables) -> list[str]:
    """Return the guard's options for the size of a step: what it derives the metrics from that are not printed."""
    printed = set(re.compile(run.progress.pattern).groupindex)
    speed = printed & SPEEDS
    if not speed:
        return []
    per_rank = "tokens_per_second_per_rank" in speed
    sizes: dict[str, int | float | str | None] = {
        "ranks-per-node": variables.ranks_on_node(run) if per_rank else None,
        "step-samples": run.global_batch,
        "sample-tokens": run.tokens_per_sample,
        "peak-tflops": run.peak_tflops if len(printed & {"tflops", "mfu", "mfu_percent"}) == 1 else None,
    }
    return [f"--{name}={size}" for name, size in sizes.items() if size is not None]


def _told(progress: Progress) -> list[str]:
    """Return the guard's options for the lines of progress, and for a stall, which is when they stay away."""
    # In a word without a $: those with one are expanded by the shell.
    pattern = progress.pattern.replace("$", r"\Z")
    return [
        f"--progress={pattern}",
        f"--start-seconds={progress.start_seconds}",
        f"--stall-seconds={progress.stall_seconds}",
    ]
