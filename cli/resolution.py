"""The resolution of a request and a configuration to a run, for every verb; all mistakes are reported at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from catalog.cluster_kinds import KINDS, LOCAL
from catalog.finding import Finding, Severity
from catalog.spelling import did_you_mean
from workloads import registry
from workloads.own_code import is_folder, own_name
from workloads.request import Request, resolve
from workloads.spec import Format, Run
from workloads.stage import TRAIN

if TYPE_CHECKING:
    from settings.configuration_file import ConfigurationFile
    from settings.deployment import Settings
    from settings.sections.workloads import WorkloadSettings


@dataclass(frozen=True, slots=True)
class Resolved:
    """A run that may be rendered: its format, and the configuration that it was read with, where there is one.

    `stages` are the runs that come before it, by the names of their stages.
    """

    run: Run
    format: Format
    settings: Settings | None
    stages: Mapping[str, Run]


def resolved(
    asked: Request,
    file: ConfigurationFile | None,
    *,
    pools_of_info: bool = False,
    prepare_on: str = "",
    found: Sequence[Finding] = (),
) -> Resolved:
    """Return the run of a request; findings are printed, and an error ends the command with exit code 2.

    With a configuration the pool's type and node count are the defaults and its bounds. Without one a pool
    means nothing, unless the given cluster info has it (`pools_of_info`). `found` are findings of the verb itself.
    """
    settings = None if file is None else read_settings(file)
    asked = _placed(asked, settings)
    findings: list[Finding] = []
    if settings is not None and asked.cluster in KINDS:
        asked, findings = _of_configuration(asked, settings, prepare_on)
    elif settings is None and prepare_on:
        message = f"pool '{prepare_on}' is not known: pools are those of a configuration, and none is given"
        findings.append(
            _error("prepare-on", prepare_on, message, "give one with '-c FILE', or leave --prepare-on out")
        )
    elif settings is None and asked.pool and not pools_of_info:
        message = f"pool '{asked.pool}' is not known: pools are those of a configuration, and none is given"
        findings.append(_error("pool", asked.pool, message, "give one with '-c FILE', or leave --pool out"))
    resolution = resolve(asked)
    findings = [*found, *findings, *resolution.findings]
    stop_at_errors(findings, asked)
    assert resolution.run
    assert resolution.format
    return Resolved(resolution.run, resolution.format, settings, resolution.stages)


def _placed(asked: Request, settings: Settings | None) -> Request:
    """Return a request that has a folder's whole path, as settings have it; a name may be that of one of theirs."""
    if is_folder(asked.workload):
        return replace(asked, workload=str(Path(asked.workload).expanduser().resolve()))
    if settings is None or asked.workload in registry.names():
        return asked
    own = {own_name(entry.path): entry.path for entry in settings.workloads if entry.path}
    return replace(asked, workload=own.get(asked.workload, asked.workload))


def stop_at_errors(findings: Sequence[Finding], asked: Request) -> None:
    """Print findings where there are any; an error among them ends the command with exit code 2."""
    if findings:
        from settings.report import report

        typer.echo(report(findings, f"{asked.workload} on {asked.cluster}"), err=True)
    if any(finding.is_error for finding in findings):
        raise typer.Exit(2)


def unsupported_options(asked: Request, given: Mapping[str, tuple[object, Sequence[str]]]) -> list[Finding]:
    """Return an error for each option without a meaning on the run's cluster: `given` are values and their clusters."""
    return [
        _error(
            option,
            str(value),
            f"'--{option}' has no effect on {asked.cluster}",
            f"it is for {', '.join(clusters)}",
        )
        for option, (value, clusters) in given.items()
        if value and asked.cluster in KINDS and asked.cluster not in clusters
    ]


def read_settings(file: ConfigurationFile) -> Settings:
    """Return the settings of a configuration; an error in it ends the command with exit code 2."""
    from settings.loaded_config import read_file
    from settings.report import report

    loaded = read_file(file)
    if loaded.settings is None or not loaded.ok:
        typer.echo(report(loaded.findings, file.path), err=True)
        raise typer.Exit(2)
    return loaded.settings


def _error(path: str, value: str, message: str, hint: str) -> Finding:
    return Finding(f"run-{path}", Severity.ERROR, path, value, message, hint)


def check_stage_options(asked: Request, *, again: bool, skipped: bool) -> Iterator[Finding]:
    """Yield what is wrong with options about stages; a name that no stage has is told with the run's mistakes."""
    if skipped and asked.stage not in ("", TRAIN):
        message = f"'--skip-stages' leaves stages out, and '--stage' asks for '{asked.stage}'"
        yield _error("stage", asked.stage, message, "give one of the two")
    try:
        stages = registry.find(asked.workload).stages
    except ValueError:
        return
    if again and not stages:
        yield _error("again", "", f"{asked.workload} has no stages to run again", "leave --again out")
    elif again and asked.stage == TRAIN:
        yield _error("again", "", "'--again' is for stages, and none is launched", "leave --again out")


def _of_configuration(
    asked: Request, settings: Settings, prepare_on: str = ""
) -> tuple[Request, list[Finding]]:
    """Fill a request's gaps from its pool, and find what the configuration does not have."""
    local = asked.cluster == LOCAL.name
    section = settings.clusters.get(asked.cluster)
    findings: list[Finding] = []
    if section is None and not local:
        message = f"deployment '{settings.name}' has no cluster '{asked.cluster}'"
        hint = f"add a section '{asked.cluster}:' to the configuration"
        findings.append(_error("cluster", asked.cluster, message, hint))
    pools = list(section.pools if section else settings.pools)
    shipped = _shipped(asked, settings, pools)
    name = shipped.pool if shipped else asked.pool or next(iter(pools), "")
    if findings and not asked.pool:
        # Of a cluster that is not there no pool is the first.
        pool = None
    elif name not in pools:
        whose = "the configuration" if section is None else f"{asked.cluster} of deployment '{settings.name}'"
        message = (
            f"{whose} has no pool '{name}'{did_you_mean(name, pools)}" if name else f"{whose} has no pool"
        )
        findings.append(_error("pool", name, message, f"it has {', '.join(pools) or 'none'}"))
        pool = None
    else:
        pool = settings.pools[name]
    preparing = prepare_on or (shipped.prepare_on if shipped else "") or ""
    if preparing and preparing not in pools:
        message = f"there is no pool '{preparing}' for stages{did_you_mean(preparing, pools)}"
        findings.append(_error("prepare-on", preparing, message, f"pools are {', '.join(pools)}"))
    filled = replace(
        asked,
        pool=asked.pool if pool is None else name,
        described=pool,
        nodes=shipped.nodes if shipped and asked.nodes is None else asked.nodes,
        arguments=(*_own_arguments(shipped, asked), *asked.arguments),
        prepare_on=settings.pools[preparing] if preparing in pools else None,
    )
    if local or pool is None:
        return filled, findings
    if asked.instance_type not in (None, pool.instance_type):
        message = f"pool '{name}' has nodes of '{pool.instance_type}', not '{asked.instance_type}'"
        findings.append(
            _error("instance-type", str(asked.instance_type), message, "leave --instance-type out")
        )
    if asked.nodes is not None and asked.nodes > pool.nodes:
        message = f"{asked.nodes} nodes are more than pool '{name}' has"
        findings.append(_error("nodes", str(asked.nodes), message, f"it has {pool.nodes}"))
    return filled, findings


def _own_arguments(shipped: WorkloadSettings | None, asked: Request) -> Sequence[str]:
    """Return the arguments that the configuration gives a workload in the size that is asked for.

    A stage that is asked for alone gets those that it shares.
    """
    if shipped is None:
        return ()
    try:
        workload = registry.find(asked.workload)
    except ValueError:
        return ()
    first = workload.reference.name
    if (shipped.preset or first) != (asked.preset or first):
        return ()
    if asked.stage in ("", TRAIN):
        return shipped.arguments
    stage = next((each for each in workload.stages if each.name == asked.stage), None)
    return stage.shares.words(shipped.arguments) if stage else ()


def _shipped(asked: Request, settings: Settings, pools: Sequence[str]) -> WorkloadSettings | None:
    """Return what the configuration ships of a workload to the cluster, and to the pool where one is asked for.

    Of several the one with the requested preset, else the first. The configuration chooses suitable nodes: the
    cluster's first pool may have accelerators that the workload does not use.
    """
    entries = [
        entry
        for entry in settings.workloads
        if entry.reference == asked.workload
        and asked.cluster in entry.clusters
        and entry.pool in pools
        and asked.pool in ("", entry.pool)
    ]
    return min(entries, key=lambda entry: entry.preset != asked.preset, default=None)
