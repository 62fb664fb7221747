"""The variables of a container that a workload has besides its program, the same for every scheduler."""

from __future__ import annotations

from workloads.containers import Container
from workloads.spec import Run


def variables_of(container: Container, run: Run, shared_folder: str) -> dict[str, str]:
    """Return the folders of the workload's assets and the container's own variables, without its secrets."""
    folders = {asset.variable: asset.path(shared_folder) for asset in run.workload.assets}
    return {**folders, **container.environment}
