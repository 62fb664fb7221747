"""Containers besides the program where there are no pods: a step of the script before it, or in the background."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from catalog.cluster_info import ClusterInfo
from workloads.containers import Container
from workloads.launchers import command
from workloads.render.container_variables import variables_of
from workloads.spec import Run
from workloads.words import LiteralWord


def step(container: Container, run: Run, info: ClusterInfo, start: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines that run a container's command with its variables; `start` are words before the command's.

    One beside the program is in the background, and `$!` is its process.
    """
    environment = "" if container.image else info.environment_of(run.workload.name)
    literal = [
        *(f"{name}={value}" for name, value in variables_of(container, run, info.shared_folder).items()),
        *container.command,
    ]
    if any("$" in word for word in literal):
        yield "# shellcheck disable=SC2016"
    split = len(literal) - len(container.command)
    words = [
        "env",
        *([f"PATH={environment}/bin:$PATH"] if environment else []),
        *map(LiteralWord, literal[:split]),
        *start,
        *map(LiteralWord, literal[split:]),
    ]
    yield command(words) + (" &" if container.when == "beside" else "")
