"""The runs of a workload's stages that are launched before its training, and what is wrong with each."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace

from catalog.finding import Finding, Severity
from catalog.pool import Pool
from workloads.checks import check_run
from workloads.formats import FORMATS
from workloads.render.launcher_support import formats_for
from workloads.run_id import check_job_name
from workloads.spec import Format, Run, Workload
from workloads.stage import TRAIN

CHAINED = (Format.SLURM, Format.BATCH, Format.JOBSET, Format.LOCAL)
"""The formats whose jobs can wait for the end of others. In any other a stage is launched by itself."""

TOGETHER = (Format.JOBSET,)
"""Those of them in which a run and its stages are one object."""


def stage_runs(run: Run, prepare_on: Pool | None = None) -> dict[str, Run]:
    """Return the runs of the stages that a run needs, by name, in an order in which they can run."""
    return {name: run.stage(name, prepare_on) for name in run.dependencies if name != TRAIN}


def stage_formats(workload: Workload, name: str) -> tuple[Format, ...]:
    """Return the formats of a workload that can start a stage; of none that it has, those of the workload."""
    found = next((stage for stage in workload.stages if stage.name == name), None)
    if found is None:
        return workload.formats
    able = formats_for(found.launcher)
    return tuple(format_ for format_ in workload.formats if format_ in able)


def stage_format(run: Run, format_: Format, cluster: str) -> Format | None:
    """Return the format in which a stage goes to the cluster of a run: the run's, or the first that can start it."""
    able = formats_for(run.workload.launcher)
    if format_ in able:
        return format_
    return next((one for one in FORMATS[cluster] if one in able and one in run.workload.formats), None)


def format_with_stages(run: Run, format_: Format | None) -> Format | None:
    """Return the format for a run and its stages where only the run's is known: a JobSet in place of a TrainJob.

    One operator brings both. Other jobs are resumed in ways that a JobSet is not.
    """
    needs = len(run.dependencies) > 1
    if format_ is Format.TRAINJOB and needs and Format.JOBSET in run.workload.formats:
        return Format.JOBSET
    return format_


def check_left_out(run: Run, format_: Format) -> Iterator[Finding]:
    """Yield a warning where a run needs stages that its format cannot have it wait for."""
    stages = [name for name in run.dependencies if name != TRAIN]
    if stages and format_ not in CHAINED:
        shared = shlex.join(run.stage(stages[0]).extra_arguments)
        first = f"{stages[0]} -- {shared}" if shared else stages[0]
        together = [f"all at once by --as {one}" for one in TOGETHER if one in run.workload.formats]
        yield Finding(
            "run-stages",
            Severity.WARNING,
            "format",
            format_,
            f"{run.workload.name} needs the stages {', '.join(stages)} first, and jobs of the format '{format_}' do "
            "not wait for others: they are not launched",
            "; or ".join([f"launch each by itself before: --stage {first}", *together]),
        )


def check_stage(run: Run, format_: Format, *, alone: bool = True) -> Iterator[Finding]:
    """Yield what is wrong or doubtful with the run of a stage in a format, each with the stage's name.

    One that is not `alone` comes before a run, whose name the object has that holds both.
    """
    found = [*check_run(run), *_nodes(run), *_launcher(run, format_)]
    if alone or format_ not in TOGETHER:
        found += check_job_name(run, format_)
    for finding in found:
        yield replace(finding, message=f"stage '{run.stage_name}': {finding.message}")


def _nodes(run: Run) -> Iterator[Finding]:
    """A stage on more nodes than its pool has would wait for ever."""
    if run.nodes > run.pool.nodes:
        yield Finding(
            "run-nodes",
            Severity.ERROR,
            "nodes",
            str(run.nodes),
            f"its {run.nodes} nodes are more than the {run.pool.nodes} of "
            + (f"pool '{run.pool.name}'" if run.pool.name else "the run"),
            "give 'nodes' of the stage in workload.py, or take a larger pool",
        )


def _launcher(run: Run, format_: Format) -> Iterator[Finding]:
    able = formats_for(run.workload.launcher)
    if format_ not in able:
        yield Finding(
            "run-format",
            Severity.ERROR,
            "format",
            format_,
            f"it is started by {run.workload.launcher.name}, which the format '{format_}' cannot start",
            f"take {' or '.join(one for one in able if one is not Format.LOCAL)}",
        )
