"""`trainforge launch`: render the manifest of a workload and submit it, after showing what will happen."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from catalog.cluster_kinds import CLUSTERS
from cli import completion
from cli.program_arguments import help_of_program, program_arguments
from cli.run_options import Cluster, Config, FormatName, InstanceType, Nodes, PoolName, PresetName, Variables

if TYPE_CHECKING:
    from catalog.cluster_info import ClusterInfo
    from cli.own_code import Shipment
    from cli.submit.submission import Submission, SubmittedJob
    from settings.configuration_file import ConfigurationFile
    from settings.deployment import Settings
    from workloads.spec import Format, Run


def launch(
    ctx: typer.Context,
    workload: Annotated[
        str,
        typer.Argument(
            metavar="WORKLOAD",
            help="The workload ('trainforge render --list' shows all), or a folder of your own, with a slash.",
            autocompletion=completion.workloads,
        ),
    ],
    on: Cluster,
    preset: PresetName = None,
    as_: FormatName = None,
    instance_type: InstanceType = None,
    nodes: Nodes = None,
    pool: PoolName = "",
    run_id: Annotated[
        str | None,
        typer.Option(
            "--run-id",
            metavar="ID",
            # Slurm's jobs and local runs would take it from the environment anyway, without a word.
            envvar="TRAINFORGE_RUN_ID",
            help="The run's id; a run that stopped resumes from its last checkpoint.",
        ),
    ] = None,
    share: Annotated[
        str,
        typer.Option(
            "--share",
            metavar="NAME",
            help="With '--on batch': the share of the queue that the job counts to; by default the first.",
        ),
    ] = "",
    env: Variables = None,
    config: Config = None,
    info_file: Annotated[
        Path | None,
        typer.Option("--cluster-info", metavar="FILE", help="The cluster's info as JSON, in place of SSM's."),
    ] = None,
    shared: Annotated[
        Path | None,
        typer.Option("--shared", metavar="FOLDER", help="With '--on local': folder of runs and data."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the job's end and exit with its exit code.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would happen and do nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Submit a workload to a cluster, or run it on this machine.

    Words after '--' are appended to the program's arguments: 'trainforge launch fsdp --on eks -- --steps 10'. Of two
    that name one option the last one counts. '-- --help' shows the program's options.

    With '--on local' it runs here. Shows first where it goes, how, and the manifest, and asks on a terminal. What
    the cluster is called and where it keeps things is read from the SSM parameter that its stack published,
    for the deployment of the configuration ('-c FILE', TRAINFORGE_CONFIG, else
    config/default.yaml).

    A folder with a workload.py or a train.py runs where it is with '--on local'. Elsewhere it is shipped by itself,
    unless the configuration names it under 'workloads:': then the image runs that was deployed.

    Exit code: 0 when it was submitted, or shown; 2 when it cannot run as asked, and then nothing was submitted;
    1 when you say no. With --wait, and on this machine (local), the job's own.
    """
    from cli.own_code import shipped
    from cli.required_assets import check_assets
    from cli.resolution import LOCAL, resolved, stop_at_errors, unsupported_options
    from cli.submit.backends import submission
    from settings.configuration_file import configuration_file
    from workloads.render.all import render
    from workloads.render.size import check_size
    from workloads.request import Request

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
    )
    local = on == LOCAL
    # A local run, or one with the cluster info in a file, needs no configuration.
    file = None if (local or info_file) and not config else configuration_file(config, "-c FILE")
    resolution = resolved(
        asked,
        file,
        pools_of_info=bool(info_file) and not local,
        found=unsupported_options(
            asked,
            {
                "shared": (shared, [LOCAL]),
                "cluster-info": (info_file, CLUSTERS),
            },
        ),
    )
    run, format_ = resolution.run, resolution.format
    if local:
        from cli.cluster_info import local_info
        from cli.submit.local import with_run_id

        run, info = with_run_id(run), local_info(shared)
    else:
        info = _info(on, resolution.settings, info_file)
    code = shipped(run, format_, info)
    stop_at_errors(code.findings, asked)
    run, info, shipment = code.run, code.info, code.shipment
    try:
        text = render(run, format_, info)
    except ValueError as error:
        _fail(str(error))
    stop_at_errors([*check_size(format_, text), *check_assets(run, info)], asked)
    sending = submission(run, format_, info, text, share=share)
    _show(run, format_, sending, sending.text or text, file, shipment)
    if dry_run:
        note = f"; {sending.obstacle}" if sending.obstacle else ""
        typer.echo(f"dry run: nothing was submitted{note}")
        return
    if sending.obstacle:
        _fail(f"{sending.obstacle}. Nothing was submitted")
    if not yes and sys.stdin.isatty() and not typer.confirm("launch it?"):
        typer.echo("nothing was submitted", err=True)
        raise typer.Exit(1)
    sys.stdout.flush()
    _submit_and_wait(sending, shipment, wait=wait or sending.here)


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(2)


def _info(cluster: str, settings: Settings | None, info_file: Path | None) -> ClusterInfo:
    from cli.cluster_info import NoClusterInfoError, info_from_file, published_info

    try:
        if info_file is not None:
            return info_from_file(info_file, cluster)
        assert settings
        return published_info(settings.name, settings.region, cluster)
    except NoClusterInfoError as error:
        _fail(str(error))


def _show(
    run: Run,
    format_: Format,
    sending: Submission,
    text: str,
    file: ConfigurationFile | None,
    shipment: Shipment | None,
) -> None:
    from workloads.render.all import file_name
    from workloads.words import literal

    machines = "1, this one" if sending.here else f"{run.nodes} x {run.instance_type}"
    typer.echo(f"launch {run.workload.name}, preset {run.preset.name}")
    if file:
        typer.echo(f"  config {file}")
    typer.echo(f"  where  {sending.where}")
    typer.echo(f"  nodes  {machines}; {run.ranks} rank{'s' if run.ranks > 1 else ''}")
    if run.extra_arguments:
        typer.echo(f"  args   {' '.join(map(literal, run.extra_arguments))}")
    if shipment:
        typer.echo(f"  code   {shipment}")
    typer.echo(f"  run    {sending.run}")
    typer.echo(f"  how    {sending.call}")
    typer.echo(f"  what   {file_name(run, format_)}, a manifest for {format_}:")
    typer.echo("")
    for line in text.rstrip("\n").split("\n"):
        typer.echo(f"    {line}" if line else "")
    typer.echo("")


def _submit_and_wait(sending: Submission, shipment: Shipment | None, *, wait: bool) -> None:
    """Ship code and submit a run, print how to follow and resume it, and end with its exit code if waiting for it."""
    from cli.submit.submission import SubmissionError

    sent: SubmittedJob | None = None
    try:
        if shipment:
            shipment.send()
        sent = sending.send()
        _tell(sent)
        if not wait:
            return
        code = sent.wait()
    except SubmissionError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        cancel = f"; end it with\n  {sent.cancel}" if sent and sent.cancel else ""
        typer.echo(f"stopped waiting; the job is still running{cancel}", err=True)
        raise typer.Exit(130) from None
    if not sending.here:
        typer.echo(f"the job ended with exit code {code}")
    if code:
        raise typer.Exit(code)


def _tell(sent: SubmittedJob) -> None:
    if sent.said:
        typer.echo(sent.said)
    if sent.follow:
        typer.echo("follow it with")
        for line in sent.follow:
            typer.echo(f"  {line}")
    if sent.said and sent.again:
        typer.echo("if it stops, a new job resumes it: the same command with")
        typer.echo(f"  --run-id {shlex.quote(sent.again)}")
    sys.stdout.flush()
