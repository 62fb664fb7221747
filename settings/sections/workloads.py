"""Settings of the workloads that are shipped with clusters."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Annotated

from pydantic import Field, StringConstraints

from catalog.pool import Pool
from settings.sections.model import Model
from workloads.request import Request

Argument = Annotated[str, StringConstraints(strip_whitespace=False)]
"""An argument of a program, to the letter."""


class WorkloadSettings(Model):
    """A workload shipped with clusters: its image is built, its programs and manifests are where nodes see them.

    In a virtual environment it needs no image; whoever uses it makes the environment.
    """

    workload: str = ""
    """Name of the workload, as `trainforge render --list` shows it."""
    path: str = ""
    """In place of `workload`: a folder of your own with a workload.py or a train.py, relative to this file."""
    preset: str | None = None
    """Its size: one of the workload's presets; by default the first."""
    pool: str
    """The pool whose nodes it runs on."""
    prepare_on: str | None = None
    """The pool of its stages that need no accelerator; by default `pool`."""
    nodes: int | None = Field(default=None, ge=1, le=6758)
    """Number of nodes; by default all of the pool."""
    arguments: list[Argument] = []
    """Arguments that are appended to the preset's; the program takes the last of two that name one option."""
    clusters: list[str] = Field(min_length=1)
    """The clusters that it is shipped with: names of their sections, such as hyperpod."""
    apply: bool = False
    """Starts it by the stack on the Kubernetes clusters among them; otherwise its manifest waits in the bundle."""
    virtual_environment: str | None = None
    """Folder of a Python environment that nodes see, which it runs in: then no image is built. Slurm clusters only."""

    @property
    def reference(self) -> str:
        """The name of the workload, or the path of its folder, as requests for a run have it."""
        return self.path or self.workload

    @property
    def label(self) -> str:
        """The name of the workload, or of its folder, for messages."""
        return self.workload or PurePath(self.path).name

    def placed(self, base: Path) -> WorkloadSettings:
        """Return this with an absolute path, with a slash, of a folder that is given relative to another."""
        if not self.path:
            return self
        return self.model_copy(update={"path": str((base / Path(self.path).expanduser()).resolve())})

    def request(self, cluster: str, pool: Pool | None, prepare_on: Pool | None = None) -> Request:
        """Return what this asks for on a cluster; without a pool, which is another finding, the preset's nodes."""
        return Request(
            self.reference,
            cluster,
            self.preset,
            nodes=self.nodes,
            pool=self.pool,
            described=pool,
            arguments=tuple(self.arguments),
            prepare_on=prepare_on,
        )
