"""Local: the same launch line on the local machine, on its processors or all of its GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from catalog.cluster_info import ClusterInfo
from workloads import entry
from workloads.launchers import RUN_ID, SchedulerVariables, Starts
from workloads.render.container_steps import step
from workloads.render.runtime_programs import each_rank
from workloads.spec import Run

LOOPBACK = "127.0.0.1"

_FREE_PORT = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"


_COUNT_GPUS = (
    'GPUS="${TRAINFORGE_GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"',
    '[ "$GPUS" -gt 0 ] || { echo "error: nvidia-smi lists no GPU here, and this preset needs one" >&2; exit 69; }',
)


def local(run: Run, info: ClusterInfo, *, header: str = "") -> str:
    """Return a bash script that runs all ranks of a run here, on this one machine.

    TRAINFORGE_RUN_ID names the run; a second start with the same one resumes. The shared folder, the programs
    and the virtual environment are the info's. A preset for GPUs takes all that nvidia-smi lists, or as many as the
    variable TRAINFORGE_GPUS says, and no EFA.
    """
    run = replace(run, at_hand=True)
    for each in run.workload.containers:
        if each.image and each.when == "before":
            raise ValueError(
                f"the container '{each.name}' of '{run.workload.name}' has an image of its own, and nothing runs "
                "containers here; run it on a cluster"
            )
    counted = run.kind == "gpu"
    variables = SchedulerVariables(
        rank0_host=LOOPBACK,
        node_rank="0",
        run_id=run.id or f"${{{RUN_ID}:-{run.name}}}",
        nodes="1",
        port="$MASTER_PORT",
        gpus="$GPUS" if counted else "",
        ranks_per_node=run.ranks,
    )
    program, runtime = entry.shipped_folders(run, info)
    line = None
    if run.workload.launcher.starts is Starts.PER_RANK:
        line = each_rank(run, variables, program, runtime)
    script = entry.entry(run, info, variables, program_folder=program, runtime_folder=runtime, line=line)
    environment = info.environment_of(run.workload.name)
    path = [f'export PATH="{environment}/bin:$PATH"'] if environment else []
    return "\n".join(
        [
            "#!/bin/bash",
            *([f"# {header}"] if header else []),
            *_for_shellcheck(run),
            *path,
            *(_COUNT_GPUS if counted else ()),
            # Several runs may share this machine: take a free port.
            f': "${{MASTER_PORT:=$(python3 -c "{_FREE_PORT}")}}"',
            *_containers(run, info),
            script,
            "",
        ]
    )


def _for_shellcheck(run: Run) -> Iterator[str]:
    """Yield the comment by which shellcheck takes a stage's description as it is: its words are expanded later."""
    if run.stage_name and "$" in str(entry.stage_description(run)):
        yield "# shellcheck disable=SC2016"


def _containers(run: Run, info: ClusterInfo) -> Iterator[str]:
    """Yield the lines of the containers besides the program that need no image.

    The program takes this shell's place, and the kernel ends what runs beside it when that process has ended.
    """
    own = [each for each in run.workload.containers if not each.image]
    if own:
        yield "set -euo pipefail"
    for each in own:
        yield f"# {each.when.capitalize()} the program: {each.name}."
        yield from step(each, run, info, ("setpriv", "--pdeathsig", "TERM") if each.when == "beside" else ())
