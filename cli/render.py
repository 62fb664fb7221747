"""`trainforge render`: the manifest of a workload for a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.cluster_kinds import LOCAL
from cli import completion
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
    StageName,
    Variables,
)

if TYPE_CHECKING:
    from settings.configuration_file import ConfigurationFile
    from workloads.spec import Override, Preset
    from workloads.stage import Stage

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
    config: Config = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Print workloads, their stages, formats and verification.")
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
        typer.echo("error: '--json' is for '--list'; a manifest has the format of its cluster", err=True)
        raise typer.Exit(2)
    if listed:
        _list(as_json)
    elif check or write:
        _committed(write)
    elif workload is None:
        typer.echo("error: name a workload; 'trainforge render --list' shows all", err=True)
        raise typer.Exit(2)
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
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from error
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


def _list(as_json: bool) -> None:
    from workloads import registry
    from workloads.stage import dependencies

    known = [registry.workload(name) for name in registry.names()]
    if as_json:
        import json

        entries = [
            {
                "workload": workload.name,
                "presets": [
                    {
                        "name": preset.name,
                        "nodes": preset.nodes,
                        "instance_type": preset.instance_type,
                        "arguments": [*workload.arguments, *preset.arguments],
                        "environment": {**workload.environment, **preset.environment},
                        "on": {key: _override(override) for key, override in preset.on.items()},
                    }
                    for preset in workload.presets.values()
                ],
                "stages": [
                    {
                        "name": one.name,
                        "title": one.title,
                        "after": list(dependencies(workload.stages, None)[one.name]),
                        "presets": list(one.presets or workload.presets),
                        "nodes": one.nodes,
                        "arguments": list(one.arguments),
                    }
                    for one in workload.stages
                ],
                "formats": [
                    {
                        "format": str(format_),
                        "proof": str(workload.proofs[format_]),
                        "what_ran": workload.proofs[format_].size,
                    }
                    for format_ in workload.formats
                ],
            }
            for workload in known
        ]
        typer.echo(json.dumps(entries, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("workload", "presets and stages", "format", "proof", "what ran")
    for workload in known:
        presets = "\n".join(line for preset in workload.presets.values() for line in _size(preset))
        presets += "".join(f"\nstage {line}" for stage in workload.stages for line in _stage(stage))
        formats = "\n".join(workload.formats)
        proofs = "\n".join(str(workload.proofs[format_]) for format_ in workload.formats)
        sizes = "\n".join(workload.proofs[format_].size or "nothing" for format_ in workload.formats)
        table.add_row(workload.name, presets, formats, proofs, sizes)
        table.add_section()
    Console().print(table)


def _stage(stage: Stage) -> Iterator[str]:
    """Yield the lines of a stage in the table: what it does, its nodes, and the presets that need it."""
    nodes = (
        "the run's nodes" if stage.nodes is None else f"{stage.nodes} node{'s' if stage.nodes > 1 else ''}"
    )
    of = "" if stage.presets is None else f", of {', '.join(stage.presets)}"
    yield f"{stage.name} ({nodes}{of}){f': {stage.title}' if stage.title else ''}"


def _override(override: Override) -> dict[str, object]:
    """Return what a preset has otherwise on an instance type, as JSON has it."""
    return {
        "nodes": override.nodes,
        "arguments": list(override.arguments),
        "environment": dict(override.environment),
    }


def _size(preset: Preset) -> Iterator[str]:
    """Yield the lines of a preset in the table: its reference, and what it has otherwise on instance types."""
    yield f"{preset.name} ({preset.nodes} x {preset.instance_type})"
    for key, override in preset.on.items():
        nodes = [f"{override.nodes} nodes"] if override.nodes else []
        variables = [f"{name}={value}" for name, value in override.environment.items()]
        yield f"  on {key}: {', '.join([*nodes, *override.arguments, *variables])}"
