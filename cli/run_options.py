"""The options by which a run is named: the same words for every verb that takes one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Cluster = Annotated[
    str,
    typer.Option(
        "--on", metavar="CLUSTER", help="hyperpod, hyperpod_eks, parallelcluster, eks, batch, local."
    ),
]
PresetName = Annotated[str | None, typer.Option("--preset", help="Its size; by default the first.")]
FormatName = Annotated[
    str | None,
    typer.Option("--as", metavar="FORMAT", help="What to write; by default as the cluster has it."),
]
InstanceType = Annotated[
    str | None, typer.Option("--instance-type", help="By default the pool's or the preset's.")
]
Nodes = Annotated[int | None, typer.Option("--nodes", help="By default the pool's or the preset's.")]
PoolName = Annotated[
    str,
    typer.Option(
        "--pool",
        help="Pool of the configuration that it goes to; by default the one that 'workloads:' names, or the first.",
    ),
]
Variables = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="NAME=VALUE",
        help="A variable for every rank, taken to the letter; may be repeated. For secrets there is another way.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Configuration whose pools and names are meant."),
]
