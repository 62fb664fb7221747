"""`trainforge render`: the manifest of a workload for a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.cluster_kinds import LOCAL
from cli import completion
from cli.mistakes import fail
from cli.program_arguments import help_of_program, program_arguments
from cli.run_options import (
    Cluster,
    Config,
    FormatName,
    InstanceType,
    Nodes,
    PoolName,
    PreparePool,
    PresetName,
    ProfileRanks,
    ProfilerName,
    ProfileSteps,
    StageName,
    Variables,
)

if TYPE_CHECKING:
    from settings.configuration_file import ConfigurationFile

WorkloadName = Annotated[
    str | None,
    typer.Argument(
        metavar="[WORKLOAD]",
        help="The workload: see --list.",
        show_default=False,
        autocompletion=completion.workloads,
    ),
]


def render(
    ctx: typer.Context,
    workload: WorkloadName = None,
    on: Cluster = "local",
    preset: PresetName = None,
    as_: FormatName = None,
    instance_type: InstanceType = None,
    nodes: Nodes = None,
    pool: PoolName = "",
    run_id: Annotated[
        str | None,
        typer.Option("--run-id", metavar="ID", help="The run's id; by default the scheduler gives one."),
    ] = None,
    stage: StageName = "",
    prepare_on: PreparePool = "",
    env: Variables = None,
    profile: ProfilerName = "",
    profile_steps: ProfileSteps = "",
    profile_ranks: ProfileRanks = "",
    config: Config = None,
    listed: Annotated[
        bool,
        typer.Option(
            "--list",
            help="Print all workloads with their proofs; with WORKLOAD, its parts.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With '--list': print JSON for programs.")] = False,
    check: Annotated[bool, typer.Option("--check", help="List committed manifests that are stale.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Update the committed manifests.")] = False,
) -> None:
    """Print the manifest of a workload; nothing is submitted.

    With '--stage NAME' it is that of one of its stages. With '--as jobset' it has all of them, and the workload's own
    program after them.

    Words after '--' are appended to the program's arguments.

    With a configuration the manifest has its pool, names and mounts. Images, roles and ids, which only a
    deployed cluster has, are examples; 'trainforge launch --dry-run' shows the real ones.
    """
    if as_json and not listed:
        fail("'--json' is for '--list'; a manifest has the format of its cluster")
    if listed:
        from cli.workload_list import print_workloads

        print_workloads(workload, as_json=as_json)
    elif check or write:
        _committed(write)
    elif workload is None:
        fail("name a workload; 'trainforge render --list' shows all")
    else:
        from cli.cluster_info import example_info
        from cli.resolution import resolved
        from workloads.render.all import render as rendered
        from workloads.request import Request
        from workloads.stage import TRAIN
        from workloads.stage_runs import TOGETHER

        arguments = program_arguments(ctx)
        if text := help_of_program(workload, arguments):
            typer.echo(text, nl=False)
            return
        asked = Request(
            workload,
            on,
            preset=preset,
            format=as_,
            instance_type=instance_type,
            nodes=nodes,
            pool=pool,
            run_id=run_id,
            variables=tuple(env or ()),
            arguments=arguments,
            stage=stage or ("" if as_ in TOGETHER else TRAIN),
            profile=profile,
            profile_steps=profile_steps,
            profile_ranks=profile_ranks,
        )
        resolution = resolved(asked, _configuration(config) if config else None, prepare_on=prepare_on)
        try:
            text = rendered(
                resolution.run,
                resolution.format,
                example_info(on, resolution.run, resolution.settings),
                stages=resolution.stages,
            )
        except ValueError as error:
            fail(error)
        typer.echo(text, nl=False)
        if resolution.settings is not None and on != LOCAL.name:
            note = "images, roles and ids are examples; 'trainforge launch --dry-run' takes the deployed cluster's"
            typer.echo(f"note: {note}", err=True)


def _configuration(path: Path) -> ConfigurationFile:
    # Here: reading settings takes longer than all of the rest of a render.
    from settings.configuration_file import configuration_file

    return configuration_file(path, "-c FILE")


def _committed(write: bool) -> None:
    from workloads.render.all import stale

    root = Path(__file__).parent.parent
    found = list(stale())
    for path, text in found:
        typer.echo(path.relative_to(root).as_posix() + (" (to be removed)" if text is None else ""))
        if write and text is None:
            path.unlink()
        elif write and text is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if found and not write:
        typer.echo("error: these files are stale; 'make manifests' updates them", err=True)
        raise typer.Exit(1)
