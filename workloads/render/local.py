"""Local: the same launch line on the machine at hand, on its processors."""

from __future__ import annotations

from catalog.site import Site
from workloads import entry
from workloads.launchers import RUN_ID, Names, Srun
from workloads.render.ranks import each_rank
from workloads.spec import Run

LOOPBACK = "127.0.0.1"

_FREE_PORT = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"


def local(run: Run, site: Site, *, header: str = "") -> str:
    """Return a bash script that runs all ranks of a run here, on this one machine.

    TRAINFORGE_RUN_ID names the run; a second start with the same one resumes. The shared folder, the programs
    and the virtual environment are the site's.
    """
    names = Names(
        rank0_host=LOOPBACK,
        node_rank="0",
        run_id=run.id or f"${{{RUN_ID}:-{run.name}}}",
        nodes="1",
        port="$MASTER_PORT",
        ranks_per_node=run.ranks,
    )
    program, runtime = entry.shipped_folders(run, site)
    before, line = "", None
    if isinstance(run.workload.launcher, Srun):
        before, line = each_rank(run, names, program)
    script = before + entry.entry(run, site, names, program_folder=program, runtime_folder=runtime, line=line)
    environment = site.environment_of(run.workload.name)
    path = [f'export PATH="{environment}/bin:$PATH"'] if environment else []
    return "\n".join(
        [
            "#!/bin/bash",
            *([f"# {header}"] if header else []),
            *path,
            # Several runs may share this machine: take a port that nobody has.
            f': "${{MASTER_PORT:=$(python3 -c "{_FREE_PORT}")}}"',
            script,
            "",
        ]
    )
