"""`trainforge launch`: render the manifest of a workload and submit it, after showing what will happen."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from catalog.cluster_kinds import CLUSTERS, KINDS, LOCAL
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
    from catalog.cluster_info import ClusterInfo
    from settings.deployment import Settings
    from workloads.spec import Run


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
            # Slurm's jobs and local runs would take it from the environment anyway, without a message.
            envvar="TRAINFORGE_RUN_ID",
            help="The run's id; a run that stopped resumes from its last checkpoint.",
        ),
    ] = None,
    stage: StageName = "",
    skip_stages: Annotated[
        bool, typer.Option("--skip-stages", help="Launch the workload's own program without its stages.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Run stages that are done already too.")] = False,
    prepare_on: PreparePool = "",
    share: Annotated[
        str,
        typer.Option(
            "--share",
            metavar="NAME",
            help="With '--on batch': the share of the queue that the job counts to; by default the first.",
        ),
    ] = "",
    env: Variables = None,
    profile: ProfilerName = "",
    profile_steps: ProfileSteps = "",
    profile_ranks: ProfileRanks = "",
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
        bool,
        typer.Option(
            "--dry-run",
            help="Show the submission without submitting. On a cluster it needs AWS credentials or --cluster-info.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Submit a workload to a cluster, or run it on this machine.

    Words after '--' are appended to the program's arguments: 'trainforge launch fsdp --on eks -- --steps 10'. Of two
    that name one option the last one counts. '-- --help' shows the program's options.

    The stages that the preset needs are submitted before, each to start when those before it have succeeded; a stage
    that is done already ends at once. '--stage NAME' launches one alone.

    With '--on local' it runs on this machine. Shows first the target, the call and the manifest, and asks on a
    terminal. The cluster's name and folders are read from the SSM parameter that its stack published, for the
    deployment of the configuration ('-c FILE', TRAINFORGE_CONFIG, else config/default.yaml).

    A folder with a workload.py or a train.py runs where it is with '--on local'. Elsewhere it is shipped by itself,
    unless the configuration names it under 'workloads:': then the image runs that was deployed.

    Exit code: 0 when it was submitted, or shown; 2 when it cannot run as asked, and then nothing was submitted;
    1 when you say no. With --wait, and on this machine (local), the job's own.
    """
    from cli.launch_jobs import LaunchJob, submit
    from cli.own_code import shipped, with_images
    from cli.required_assets import check_assets
    from cli.resolution import check_stage_options, resolved, stop_at_errors, unsupported_options
    from cli.submit.backends import submission
    from settings.configuration_file import configuration_file
    from workloads.render.all import render
    from workloads.render.size import check_size
    from workloads.request import Request
    from workloads.stage import AGAIN, TRAIN
    from workloads.stage_runs import TOGETHER, check_left_out

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
        stage=stage or (TRAIN if skip_stages else ""),
        profile=profile,
        profile_steps=profile_steps,
        profile_ranks=profile_ranks,
    )
    local = on == LOCAL.name
    # A local run, or one with the cluster info in a file, needs no configuration.
    file = None if (local or info_file) and not config else configuration_file(config, "-c FILE")
    resolution = resolved(
        asked,
        file,
        pools_of_info=bool(info_file) and not local,
        prepare_on=prepare_on,
        found=[
            *unsupported_options(
                asked,
                {
                    "shared": (shared, [LOCAL.name]),
                    "cluster-info": (info_file, CLUSTERS),
                    "share": (share, [name for name, kind in KINDS.items() if "batch" in kind.formats]),
                },
            ),
            *check_stage_options(asked, again=again, skipped=skip_stages),
        ],
    )
    if not asked.stage:
        stop_at_errors([*check_left_out(resolution.run, resolution.format)], asked)
    runs = [*resolution.stages.values(), resolution.run]
    if again:
        # One for this launch: a job that is restarted, or retried, does not run its stages once more.
        variables = {AGAIN: uuid4().hex[:12]}
        runs = [
            replace(one, environment={**one.environment, **variables}) if one.stage_name else one
            for one in runs
        ]
    if local:
        from cli.cluster_info import local_info
        from cli.submit.local import with_run_id

        runs, info = [with_run_id(one) for one in runs], local_info(shared)
    else:
        info = _info(on, resolution.settings, info_file)
    format_, shipment = resolution.format, None
    codes = [shipped(run, format_, info) for run in runs]
    stop_at_errors(list(dict.fromkeys(finding for code in codes for finding in code.findings)), asked)
    places = {"--shared": shared, "-c": config, "--cluster-info": info_file}
    options = [word for name, value in places.items() if value for word in (name, str(value))]
    findings = [
        found
        for code in codes
        for found in check_assets(code.run, code.info, resolution.stages, reference=workload, options=options)
    ]
    together: dict[str, Run] = {}
    if format_ in TOGETHER:
        together = {code.run.stage_name: code.run for code in codes[:-1]}
        codes = [with_images(codes)]
    texts: list[str] = []
    for code in codes:
        try:
            texts.append(render(code.run, format_, code.info, stages=together))
        except ValueError as error:
            fail(error)
        findings += check_size(format_, texts[-1])
    stop_at_errors(findings, asked)
    jobs: list[LaunchJob] = []
    for code, text in zip(codes, texts, strict=True):
        run, shipment = code.run, code.shipment
        sending = submission(run, format_, code.info, text, share=share)
        after = resolution.run.dependencies[run.stage_name or TRAIN] if len(codes) > 1 else ()
        jobs.append(LaunchJob(run, format_, text, sending, after, tuple(together.values())))
    for job in jobs:
        job.show(file, shipment)
    obstacle = next((job.sending.obstacle for job in jobs if job.sending.obstacle), "")
    if dry_run:
        note = f"; {obstacle}" if obstacle else ""
        typer.echo(f"dry run: nothing was submitted{note}")
        return
    if obstacle:
        fail(f"{obstacle}. Nothing was submitted")
    if not yes and sys.stdin.isatty() and not typer.confirm("launch it?"):
        typer.echo("nothing was submitted", err=True)
        raise typer.Exit(1)
    sys.stdout.flush()
    submit(jobs, shipment, wait=wait)


def _info(cluster: str, settings: Settings | None, info_file: Path | None) -> ClusterInfo:
    from cli.cluster_info import NoClusterInfoError, info_from_file, published_info

    try:
        if info_file is not None:
            return info_from_file(info_file, cluster)
        assert settings
        return published_info(settings.name, settings.region, cluster)
    except NoClusterInfoError as error:
        fail(error)
