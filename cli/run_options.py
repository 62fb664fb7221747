"""The options that describe a run, equal for every verb that takes one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catalog.cluster_kinds import KINDS
from cli import completion

Cluster = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="CLUSTER",
        help=f"{', '.join(KINDS)}.",
        autocompletion=completion.clusters,
    ),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset", metavar="NAME", help="Its size; by default the first.", autocompletion=completion.presets
    ),
]
FormatName = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="FORMAT",
        help="What to write; by default as the cluster has it.",
        autocompletion=completion.formats,
    ),
]
InstanceType = Annotated[
    str | None,
    typer.Option(
        "--instance-type",
        metavar="TYPE",
        help="By default the pool's or the preset's.",
        autocompletion=completion.instance_types,
    ),
]
Nodes = Annotated[
    int | None, typer.Option("--nodes", metavar="N", help="By default the pool's or the preset's.")
]
PoolName = Annotated[
    str,
    typer.Option(
        "--pool",
        metavar="POOL",
        autocompletion=completion.pools,
        help="Pool of the configuration that it goes to; by default the one that 'workloads:' names, or the first.",
    ),
]
StageName = Annotated[
    str,
    typer.Option(
        "--stage",
        metavar="NAME",
        help="One stage of the workload alone ('trainforge render W --list' shows them); 'train' is its own program.",
        autocompletion=completion.stages,
    ),
]
PreparePool = Annotated[
    str,
    typer.Option(
        "--prepare-on",
        metavar="POOL",
        autocompletion=completion.pools,
        help="Pool of the stages that need no accelerator; by default as the configuration has it, or the run's.",
    ),
]
Variables = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="NAME=VALUE",
        help="A variable for every rank, passed unchanged; may be repeated. Not for secrets; see docs/runs.md.",
    ),
]
ProfilerName = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="PROFILER",
        help="Capture steps of the training by 'torch' or 'nsys', to the folder 'profile' of the run's folder.",
        autocompletion=completion.profilers,
    ),
]
ProfileSteps = Annotated[
    str,
    typer.Option(
        "--profile-steps",
        metavar="FIRST:LAST",
        help="With '--profile': the steps to capture; by default 10:12.",
    ),
]
ProfileRanks = Annotated[
    str,
    typer.Option(
        "--profile-ranks",
        metavar="RANKS",
        help="With '--profile': 'all', or numbers and ranges such as 0,8-15; by default 0-7.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Configuration with the pools and names."),
]
