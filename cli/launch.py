"""`trainforge launch`: render the manifest of a workload and submit it, after showing what will happen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli.render import Cluster, Config, FormatName, InstanceType, Nodes, PoolName, PresetName

if TYPE_CHECKING:
    from catalog.finding import Finding
    from catalog.site import Site
    from cli.submission import Sent, Submission
    from settings.deployment import Settings
    from workloads.request import Request
    from workloads.spec import Format, Run


def launch(
    workload: Annotated[str, typer.Argument(help="The workload; 'trainforge render --list' shows all.")],
    on: Cluster,
    preset: PresetName = None,
    as_: FormatName = None,
    instance_type: InstanceType = None,
    nodes: Nodes = None,
    pool: PoolName = "",
    config: Config = None,
    site_file: Annotated[
        Path | None,
        typer.Option("--site", metavar="FILE", help="The cluster's site as JSON, in place of SSM's."),
    ] = None,
    shared: Annotated[
        Path | None,
        typer.Option("--shared", metavar="FOLDER", help="With '--on local': where runs and data lie."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would happen and do nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Submit a workload to a cluster, or run it here with '--on local'.

    Shows first where it goes, how, and the manifest, and asks on a terminal. What the cluster is called and
    where it keeps things is read from the SSM parameter that its stack published, for the deployment of the
    configuration (config/default.yaml). Nothing is submitted, and the exit code is 2, when the workload
    cannot run as asked.
    """
    from workloads.render.all import render
    from workloads.request import Request

    asked = Request(workload, on, preset, as_, instance_type, nodes, pool)
    run, format_, site = _resolved(asked, config, site_file, shared)
    try:
        text = render(run, format_, site)
    except ValueError as error:
        _fail(str(error))
    from cli.submission import submission

    _require_data(run, site)
    sending = submission(run, format_, site, text)
    _show(run, format_, sending, text)
    if dry_run:
        note = f"; {sending.obstacle}" if sending.obstacle else ""
        typer.echo(f"dry run: nothing was submitted{note}")
        return
    if sending.obstacle:
        _fail(f"{sending.obstacle}. Nothing was submitted")
    if not yes and sys.stdin.isatty() and not typer.confirm("launch it?"):
        typer.echo("nothing was submitted", err=True)
        raise typer.Exit(1)
    _report(_send(sending))


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(2)


def _require_data(run: Run, site: Site) -> None:
    """End the command where the run needs data that is not there, as far as this machine sees the shared folder."""
    data, shared = run.workload.data, Path(site.shared_folder)
    if data is None or not data.required or not (shared.is_dir() or site.cluster == "local"):
        return
    folder = shared / "data" / data.folder
    if not folder.is_dir():
        _fail(
            f"{run.workload.name} needs the data folder '{folder}', which is not there; put its data there first"
        )


def _resolved(
    asked: Request, config: Path | None, site_file: Path | None, shared: Path | None
) -> tuple[Run, Format, Site]:
    """Return the run, its format and its site; findings end the command, before a cluster is asked."""
    from workloads.formats import FORMATS
    from workloads.request import resolve

    local = asked.cluster == "local"
    settings = None
    findings: list[Finding] = []
    if config is not None or not (local or site_file):
        settings = _settings(config)
        if asked.cluster in FORMATS:
            asked, findings = _from_configuration(asked, settings)
    resolution = resolve(asked)
    findings += resolution.findings
    if findings:
        from settings.report import report

        typer.echo(report(findings, f"{asked.workload} on {asked.cluster}"), err=True)
    if any(finding.is_error for finding in findings):
        raise typer.Exit(2)
    assert resolution.run
    assert resolution.format
    if local:
        return resolution.run, resolution.format, _local_site(asked, shared)
    return resolution.run, resolution.format, _site(asked.cluster, settings, site_file)


def _settings(config: Path | None) -> Settings:
    from cli.validate import DEFAULT_CONFIG
    from settings.reading import read
    from settings.report import report

    path = config or DEFAULT_CONFIG
    reading = read(path)
    if reading.settings is None or not reading.ok:
        typer.echo(report(reading.findings, path), err=True)
        raise typer.Exit(2)
    return reading.settings


def _from_configuration(asked: Request, settings: Settings) -> tuple[Request, list[Finding]]:
    """Fill a request's gaps from its pool, and find what the configuration does not have."""
    from dataclasses import replace

    from catalog.finding import Finding, Severity

    findings: list[Finding] = []

    def error(path: str, value: str, message: str, hint: str) -> None:
        findings.append(Finding(f"run-{path}", Severity.ERROR, path, value, message, hint))

    local = asked.cluster == "local"
    section = None if local else getattr(settings, asked.cluster, None)
    if section is None and not local:
        message = f"deployment '{settings.name}' has no cluster '{asked.cluster}'"
        error("cluster", asked.cluster, message, f"a section '{asked.cluster}:' makes one")
        return asked, findings
    pools = list(section.pools if section else settings.pools)
    pool = asked.pool or next(iter(pools), "")
    if pool not in pools:
        message = f"{asked.cluster} of deployment '{settings.name}' has no pool '{pool}'"
        error("pool", pool, message, f"it has {', '.join(pools) or 'none'}")
        return asked, findings
    noun = settings.pool(pool)
    if asked.instance_type not in (None, noun.instance_type) and not local:
        message = f"pool '{pool}' has nodes of '{noun.instance_type}', not '{asked.instance_type}'"
        error("instance-type", str(asked.instance_type), message, "leave --instance-type out")
    if asked.nodes is not None and asked.nodes > noun.nodes and not local:
        message = f"{asked.nodes} nodes are more than pool '{pool}' has"
        error("nodes", str(asked.nodes), message, f"it has {noun.nodes}")
    filled = replace(
        asked,
        pool=pool,
        instance_type=asked.instance_type or noun.instance_type,
        nodes=noun.nodes if asked.nodes is None else asked.nodes,
    )
    return filled, findings


def _site(cluster: str, settings: Settings | None, site_file: Path | None) -> Site:
    from cli.sites import NoSiteError, published_site, site_of_file

    try:
        if site_file is not None:
            return site_of_file(site_file, cluster)
        assert settings
        return published_site(settings.name, settings.region, cluster)
    except NoSiteError as error:
        _fail(str(error))


def _local_site(asked: Request, shared: Path | None) -> Site:
    from dataclasses import replace

    from catalog.site import Mount
    from cli.render import example_site

    site = example_site(asked)
    if shared is None:
        return site
    return replace(site, mounts=(Mount(str(shared.absolute()), "lustre", ""),))


def _show(run: Run, format_: Format, sending: Submission, text: str) -> None:
    from workloads.render.all import file_name

    here = sending.where == "this machine"
    machines = "1, this one" if here else f"{run.nodes} x {run.instance_type}"
    typer.echo(f"launch {run.workload.name}, preset {run.preset.name}")
    typer.echo(f"  where  {sending.where}")
    typer.echo(f"  nodes  {machines}; {run.ranks} rank{'s' if run.ranks > 1 else ''}")
    typer.echo(f"  how    {sending.call}")
    typer.echo(f"  what   {file_name(run, format_)}, a manifest for {format_}:")
    typer.echo("")
    for line in text.rstrip("\n").split("\n"):
        typer.echo(f"    {line}" if line else "")
    typer.echo("")


def _send(sending: Submission) -> Sent:
    from cli.submission import SubmissionError

    sys.stdout.flush()
    try:
        return sending.send()
    except SubmissionError as error:
        _fail(str(error))


def _report(sent: Sent) -> None:
    if sent.said:
        typer.echo(sent.said)
    if sent.follow:
        typer.echo("follow it with")
        for line in sent.follow:
            typer.echo(f"  {line}")
    if sent.code:
        raise typer.Exit(sent.code)
