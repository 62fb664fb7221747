"""Requests for a run, and the run that follows from each: every mistake at once, before anything is submitted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from catalog.cluster_kinds import LOCAL
from catalog.finding import Finding, Severity
from catalog.instances import INSTANCES, UnknownInstanceTypeError
from catalog.pool import Pool
from catalog.spelling import did_you_mean
from workloads import registry
from workloads.checks import check_containers, check_kind, check_local, check_preset, check_run
from workloads.formats import FORMATS, default_format
from workloads.own_code import OwnCodeError, fitted, is_folder
from workloads.own_files import own_files, path_problem
from workloads.preset import Preset
from workloads.profile import check_profile, requested
from workloads.program_arguments import check_arguments
from workloads.run_id import check_job_name, check_run_id
from workloads.shared_options import SharedOptions
from workloads.spec import Format, Run, Workload
from workloads.stage import TRAIN, UnknownStageError, find_stage
from workloads.stage_runs import CHAINED, check_stage, format_with_stages, stage_formats, stage_runs
from workloads.variables import check_variables, read_variables


@dataclass(frozen=True, slots=True)
class Request:
    """A workload on a cluster, as asked for. What is None follows from the pool, the preset and the cluster.

    `workload` is a name, or the path of a folder, which has a slash. `pool` is the name of the pool, and `described`
    the pool where a configuration describes it. `run_id` is None where the scheduler names the run. `variables` are
    words NAME=VALUE, `arguments` are appended to the program's.

    `stage` is the name of a stage that is asked for alone, with these arguments; `train` is the run without its stages.
    Where none is named, the stages that the run needs come before it. `prepare_on` is the pool of stages that need no
    accelerator; None for the run's. `profile` is the name of a profiler, or empty.
    """

    workload: str
    cluster: str
    preset: str | None = None
    format: str | None = None
    instance_type: str | None = None
    nodes: int | None = None
    pool: str = ""
    described: Pool | None = None
    run_id: str | None = None
    variables: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    stage: str = ""
    prepare_on: Pool | None = None
    profile: str = ""
    profile_steps: str = ""
    profile_ranks: str = ""


_OF_KIND = ("run-accelerators", "run-idle-accelerators")
"""The rules on the kind of accelerator that nodes have."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The result of a request: the run and its format, or None, and the findings.

    `stages` are the runs that come before it, by their stage's name, where the format lets jobs wait for others.
    """

    run: Run | None
    format: Format | None
    findings: tuple[Finding, ...]
    stages: Mapping[str, Run] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def ok(self) -> bool:
        """True if it can be rendered: no finding is an error."""
        return (
            self.run is not None
            and self.format is not None
            and not any(finding.is_error for finding in self.findings)
        )


def resolve(request: Request) -> Resolution:
    """Return the run that a request means, with all findings."""
    findings: list[Finding] = []
    workload = _workload(request, findings)
    format_ = _format(request, workload, findings)
    preset = _preset(request, workload, findings)
    _type(request, findings)
    if request.nodes is not None and request.nodes < 1:
        findings.append(
            _error("nodes", str(request.nodes), f"{request.nodes} nodes cannot run anything", "1 or more")
        )
    if request.run_id is not None:
        findings += check_run_id(request.run_id)
    findings += check_variables(request.variables, workload)
    profile, wrong = requested(request.profile, request.profile_steps, request.profile_ranks)
    findings += wrong
    findings += _stage_name(request, workload, preset)
    if workload is None or preset is None or any(finding.is_error for finding in findings):
        findings += _refused_by_all(request, workload, preset)
        return Resolution(None, format_, tuple(findings))
    run = _run(request, workload, preset)
    findings += check_preset(preset)
    shares = None
    if request.stage:
        shares = _shares(run, request.stage)
        run = _stage(request, run)
    if profile and run.stage_name:
        message = f"'--profile' is for the training, and the stage '{run.stage_name}' is asked for"
        findings.append(_error("profile", profile.profiler, message, "leave it out"))
    elif profile:
        supported, gpus = run.workload.profilers, run.kind == "gpu"
        wrong = [*check_profile(profile, run.workload.name, supported, run.ranks, gpus=gpus)]
        findings += wrong
        run = run if wrong else replace(run, profile=profile)
    findings += check_arguments(run, shares)
    if any(finding.is_error for finding in findings):
        # What else is judged follows from the arguments.
        return Resolution(run, format_, tuple(findings))
    stages: Mapping[str, Run] = {}
    if not request.stage and request.format is None:
        format_ = format_with_stages(run, format_)
    if not request.stage and format_ in CHAINED:
        stages = stage_runs(run, request.prepare_on)
        # Where the run needs other nodes, its stages get other nodes too.
        moot = _OF_KIND if any(check_kind(run)) else ()
        for stage in stages.values():
            found = check_stage(stage, format_, alone=False)
            findings += (finding for finding in found if finding.rule not in moot)
            findings += (
                replace(finding, message=f"stage '{stage.stage_name}': {finding.message}")
                for finding in check_arguments(stage)
            )
    if run.stage_name and format_ is not None:
        findings += check_stage(run, format_)
    else:
        findings += check_run(run)
        findings += check_job_name(run, format_) if format_ is not None else ()
    if format_ is not None:
        findings += check_containers(run, format_)
    if format_ is Format.LOCAL:
        findings += check_local(run)
    if request.arguments and format_ is not None:
        # Here: most requests have none, and need no renderer.
        from workloads.render.size import check_example_size

        findings += check_example_size(run, format_, request.cluster)
    return Resolution(run, format_, tuple(findings), stages)


def _stage(request: Request, run: Run) -> Run:
    """Return the run of the stage that is asked for, which gets the arguments."""
    if request.stage == TRAIN:
        return run
    return replace(run.stage(request.stage, request.prepare_on), extra_arguments=request.arguments)


def _shares(run: Run, stage: str) -> SharedOptions | None:
    """Return the options that a stage of a run shares with the training; none of the training itself."""
    if stage == TRAIN:
        return None
    return find_stage(run.workload.stages, run.preset.name, stage).shares


def _stage_name(request: Request, workload: Workload | None, preset: Preset | None) -> Iterator[Finding]:
    """Yield an error where no stage has the name that is asked for: of the preset, or of any if it is not known."""
    if workload is None or request.stage in ("", TRAIN):
        return
    try:
        if preset is not None:
            find_stage(workload.stages, preset.name, request.stage)
        elif request.stage not in (names := [stage.name for stage in workload.stages]):
            every = [*names, TRAIN]
            guess = did_you_mean(request.stage, every)
            message = f"{workload.name} has no stage '{request.stage}'{guess}"
            yield _error("stage", request.stage, message, f"it has {', '.join(every)}")
    except UnknownStageError as error:
        yield _error("stage", request.stage, *_split(str(error)))


def _refused_by_all(request: Request, workload: Workload | None, preset: Preset | None) -> Iterator[Finding]:
    """Yield what is wrong with the arguments of a request that has other mistakes.

    Where the preset or the stage is not known, these are arguments that each of them would refuse.
    """
    if workload is None or not request.arguments:
        return
    found: list[list[Finding]] = []
    for each in [preset] if preset else workload.presets.values():
        asked = _type_name(request)
        type_ = asked if asked is not None and asked in INSTANCES else each.instance_type
        run = Run.on_type(workload, each, type_, each.nodes)
        names = list(run.dependencies)
        for name in [request.stage or TRAIN] if (request.stage or TRAIN) in names else names:
            found.append([*check_arguments(replace(run.stage(name), extra_arguments=request.arguments))])
    if all(found):
        # The last is of the program itself, or of the stage that is asked for.
        yield from found[-1]


def _split(message: str) -> tuple[str, str]:
    """Return a message and the hint that follows it after a semicolon."""
    told, _, hint = message.partition("; ")
    return told, hint


def _run(request: Request, workload: Workload, preset: Preset) -> Run:
    """Return the run of a request: on nodes of its pool, or of another requested type (on the local machine)."""
    pool, environment = request.described, read_variables(request.variables)
    id_, arguments = request.run_id or "", request.arguments
    if pool is None:
        type_ = request.instance_type or preset.instance_type
        nodes = preset.nodes_on(type_) if request.nodes is None else request.nodes
        return Run.on_type(workload, preset, type_, nodes, request.pool, id_, environment, arguments)
    if request.instance_type:
        pool = replace(pool, instance_type=request.instance_type)
    nodes = pool.nodes if request.nodes is None else request.nodes
    return Run(workload, preset, pool, nodes, id_, environment, extra_arguments=arguments)


def _error(path: str, value: str, message: str, hint: str = "", rule: str = "") -> Finding:
    return Finding(rule or f"run-{path}", Severity.ERROR, path, value, message, hint)


def _workload(request: Request, findings: list[Finding]) -> Workload | None:
    try:
        found = registry.find(request.workload)
    except registry.UnknownWorkloadError as error:
        hint = "'trainforge render --list' shows all"
        if Path(request.workload).is_dir():
            hint += f"; './{request.workload}' is the folder of that name"
        findings.append(_error("workload", request.workload, str(error), hint))
        return None
    except OwnCodeError as error:
        findings += [_error("workload", request.workload, message, hint) for message, hint in error.problems]
        return None
    if is_folder(request.workload):
        findings += _own_folder(request, found)
    facts = INSTANCES.get(_type_name(request) or found.reference.instance_type)
    return fitted(found, facts) if facts else found


def _own_folder(request: Request, workload: Workload) -> Iterator[Finding]:
    """Yield what is wrong with the files of a folder: it runs where it is on this machine, else it is shipped."""
    assert workload.folder
    if request.cluster == LOCAL.name:
        problems = [*path_problem(workload.folder)]
    else:
        problems = own_files(workload.folder, workload.name).problems
    for message, hint in problems:
        yield _error("workload", request.workload, message, hint)


def _type_name(request: Request) -> str | None:
    """Return the instance type that a request names, or its pool."""
    return request.instance_type or (request.described.instance_type if request.described else None)


def _preset(request: Request, workload: Workload | None, findings: list[Finding]) -> Preset | None:
    if workload is None:
        return None
    if request.preset is None:
        return workload.reference
    preset = workload.presets.get(request.preset)
    if preset is None:
        guess = did_you_mean(request.preset, workload.presets)
        message = f"{workload.name} has no preset '{request.preset}'{guess}"
        findings.append(_error("preset", request.preset, message, f"it has {', '.join(workload.presets)}"))
    return preset


def _format(request: Request, workload: Workload | None, findings: list[Finding]) -> Format | None:
    if request.cluster not in FORMATS:
        guess = did_you_mean(request.cluster, FORMATS)
        message = f"there is no cluster '{request.cluster}'{guess}"
        findings.append(_error("cluster", request.cluster, message, f"clusters are {', '.join(FORMATS)}"))
        return None
    runs = FORMATS[request.cluster]
    if request.format is None:
        found = default_format(request.cluster, stage_formats(workload, request.stage)) if workload else None
        if workload and found is None:
            message = f"{workload.name} has no format that {request.cluster} runs ({_listed(runs)})"
            findings.append(_error("format", "", message, f"it has {_listed(workload.formats)}"))
        return found
    if request.format not in list(Format):
        message = f"there is no format '{request.format}'{did_you_mean(request.format, Format)}"
        findings.append(_error("format", request.format, message, f"formats are {_listed(Format)}"))
        return None
    format_ = Format(request.format)
    if format_ not in runs:
        message = f"{request.cluster} does not run the format '{format_}'"
        able = [name for name, formats in FORMATS.items() if format_ in formats]
        others = " and ".join(f"'--on {name}'" for name in able)
        hint = f"it runs {_listed(runs)}; {others} run{'s' if len(able) == 1 else ''} {format_}"
        findings.append(_error("format", format_, message, hint))
    if workload and format_ not in workload.formats:
        message = f"{workload.name} has no format '{format_}'"
        findings.append(_error("format", format_, message, f"it has {_listed(workload.formats)}"))
    return format_


def _listed(formats: Iterable[Format]) -> str:
    return ", ".join(formats) or "none"


def _type(request: Request, findings: list[Finding]) -> None:
    name = _type_name(request)
    if name is not None and name not in INSTANCES:
        unknown = UnknownInstanceTypeError(name)
        findings.append(_error("instance-type", name, *_split(str(unknown))))
