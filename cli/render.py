"""`trainforge render`: the manifest of a workload for a cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from catalog.site import Site
    from workloads.request import Request, Resolution

WorkloadName = Annotated[str | None, typer.Argument(help="The workload: see --list.", show_default=False)]
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
PoolName = Annotated[str, typer.Option("--pool", help="Pool of the configuration that it goes to.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Configuration whose pools and names are meant."),
]


def render(
    workload: WorkloadName = None,
    on: Cluster = "local",
    preset: PresetName = None,
    as_: FormatName = None,
    instance_type: InstanceType = None,
    nodes: Nodes = None,
    pool: PoolName = "",
    config: Config = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Print workloads, formats and how each was proven.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="List committed manifests that are stale.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the committed manifests anew.")] = False,
) -> None:
    """Print the manifest of a workload for a cluster; nothing is submitted."""
    if listed:
        _list()
    elif check or write:
        _committed(write)
    elif workload is None:
        typer.echo("error: name a workload; 'trainforge render --list' shows all", err=True)
        raise typer.Exit(2)
    else:
        from workloads.render.all import render as rendered
        from workloads.request import Request

        request = Request(workload, on, preset, as_, instance_type, nodes, pool)
        resolution, site = resolved(request, config)
        assert resolution.run
        assert resolution.format
        try:
            text = rendered(resolution.run, resolution.format, site)
        except ValueError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from error
        typer.echo(text, nl=False)


def resolved(request: Request, config: Path | None) -> tuple[Resolution, Site]:
    """Return what a request means and the site it is rendered for; findings end the command with exit code 2.

    With a configuration the pool's type and node count are the defaults, and the site carries its names; what
    only a deployed cluster knows stays as in the committed examples.
    """
    from workloads.request import resolve

    if config is not None:
        request = _of_configuration(request, config)
    resolution = resolve(request)
    if resolution.findings:
        from settings.report import report

        typer.echo(report(resolution.findings, f"{request.workload} on {request.cluster}"), err=True)
    if not resolution.ok:
        raise typer.Exit(2)
    return resolution, example_site(request)


def example_site(request: Request) -> Site:
    """Return the site of a request when no cluster is asked: this machine, or the committed examples' one."""
    from dataclasses import replace

    from catalog.site import Mount, Site

    if request.cluster == "local":
        here = Path(__file__).parent.parent
        shared = Path(os.environ.get("TRAINFORGE_SHARED", Path.cwd() / "runs"))
        return Site(
            deployment="local",
            cluster="local",
            region="",
            cluster_name="local",
            mounts=(Mount(str(shared), "lustre", ""),),
            launch_folder=str(here / "workloads"),
            virtual_environment=os.environ.get("VIRTUAL_ENV", ""),
        )
    site = Site.example(request.cluster, [request.workload])
    return replace(site, partitions={request.pool: request.pool}, queues={request.pool: request.pool})


def _of_configuration(request: Request, config: Path) -> Request:
    """Fill a request's gaps from the configuration's pool; a broken configuration ends the command."""
    from dataclasses import replace

    from settings.reading import read
    from settings.report import report

    reading = read(config)
    if reading.settings is None or not reading.ok:
        typer.echo(report(reading.findings, config), err=True)
        raise typer.Exit(2)
    settings = reading.settings
    pool = request.pool or next(iter(settings.pools), "")
    if pool not in settings.pools:
        typer.echo(
            f"error: '{config}' has no pool '{pool}'; it has {', '.join(settings.pools) or 'none'}", err=True
        )
        raise typer.Exit(2)
    noun = settings.pool(pool)
    return replace(
        request,
        pool=pool,
        instance_type=request.instance_type or noun.instance_type,
        nodes=request.nodes or noun.nodes,
    )


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
        typer.echo("error: these manifests are stale; 'make manifests' writes them anew", err=True)
        raise typer.Exit(1)


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from workloads import rooms

    table = Table("workload", "presets", "format", "proof")
    for name in rooms.names():
        workload = rooms.workload(name)
        presets = "\n".join(
            f"{preset.name} ({preset.nodes} x {preset.instance_type})" for preset in workload.presets.values()
        )
        formats = "\n".join(workload.formats)
        proofs = "\n".join(str(workload.proofs[format_]) for format_ in workload.formats)
        table.add_row(name, presets, formats, proofs)
        table.add_section()
    Console().print(table)
