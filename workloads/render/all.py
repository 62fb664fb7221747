"""Every renderer by its format, and the files that are rendered and committed: manifests, tables, data of programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from catalog.cluster_info import ClusterInfo
from workloads import health_data, health_xids, registry, software_lock
from workloads.formats import example_cluster
from workloads.render.batch import batch
from workloads.render.hyperpodpytorchjob import hyperpodpytorchjob
from workloads.render.jobset import jobset
from workloads.render.launcher_support import formats_for
from workloads.render.local import local
from workloads.render.mpijob import mpijob
from workloads.render.pytorchjob import pytorchjob
from workloads.render.rayjob import rayjob
from workloads.render.slurm import slurm
from workloads.render.tables import TABLES
from workloads.render.trainjob import trainjob
from workloads.spec import Format, Run, Workload
from workloads.stage_runs import TOGETHER

RENDERERS: dict[Format, Callable[..., str]] = {
    Format.SLURM: slurm,
    Format.PYTORCHJOB: pytorchjob,
    Format.TRAINJOB: trainjob,
    Format.HYPERPODPYTORCHJOB: hyperpodpytorchjob,
    Format.MPIJOB: mpijob,
    Format.JOBSET: jobset,
    Format.RAYJOB: rayjob,
    Format.BATCH: batch,
    Format.LOCAL: local,
}

SUFFIXES = {Format.SLURM: "sbatch", Format.BATCH: "json", Format.LOCAL: "sh"}
"""Ending of a manifest's file; YAML for the rest."""


def render(
    run: Run,
    format_: Format,
    info: ClusterInfo,
    *,
    header: str = "",
    stages: Mapping[str, Run] | None = None,
) -> str:
    """Return the manifest of a run in a format for cluster info.

    A JobSet has the run's stages, too: `stages`, or all that it needs.
    """
    if format_ is Format.JOBSET:
        return jobset(run, info, header=header, stages=stages)
    return RENDERERS[format_](run, info, header=header)


def file_name(run: Run, format_: Format) -> str:
    """Return the name of a manifest's file: format, size, type and count, so that nobody has to open it."""
    ending = SUFFIXES.get(format_, "yaml")
    return f"{format_}.{named_size(run)}.{run.nodes}x{run.instance_type}.{ending}"


def named_size(run: Run) -> str:
    """Return the part of a manifest's name for the preset, and for the stage where it is the run of one."""
    return f"{run.preset.name}.{run.stage_name}" if run.stage_name else run.preset.name


def committed(workload: Workload) -> Iterator[tuple[Path, str]]:
    """Yield the path and text of each manifest that is committed: the reference run in every format, and each stage.

    Locally it is one node of it where it needs accelerators: one machine has no more. A stage is that of the first
    preset that needs it, and a format that has stages and run in one shows the first preset that needs some.
    """
    header = (
        f"Rendered from workloads/{workload.package}/workload.py by 'make manifests': change that, not this."
    )
    for run in (Run.reference(workload), *_stages(workload)):
        for format_ in workload.formats:
            if format_ in TOGETHER or (run.stage_name and format_ not in formats_for(run.workload.launcher)):
                continue
            alone = format_ is Format.LOCAL and run.accelerated
            shown = replace(run, nodes=1) if alone else run
            info = ClusterInfo.example(example_cluster(format_), [run.image_name])
            path = registry.folder(workload) / "manifests" / file_name(shown, format_)
            yield path, render(shown, format_, info, header=header)
    for format_ in workload.formats:
        if format_ in TOGETHER:
            run = _with_stages(workload)
            names = [run.image_name, *(run.stage(name).image_name for name in run.dependencies)]
            info = ClusterInfo.example(example_cluster(format_), names)
            path = registry.folder(workload) / "manifests" / file_name(run, format_)
            yield path, render(run, format_, info, header=header)


def _with_stages(workload: Workload) -> Run:
    """Return the run of the first preset that needs a stage."""
    needed = [
        one for one in workload.presets.values() if any(each.is_of(one.name) for each in workload.stages)
    ]
    preset = next(iter(needed), workload.reference)
    return Run.on_type(workload, preset, preset.instance_type, preset.nodes_on(preset.instance_type))


def _stages(workload: Workload) -> Iterator[Run]:
    """Yield the run of each stage, in the first preset that needs it."""
    for stage in workload.stages:
        preset = next(one for one in workload.presets.values() if stage.is_of(one.name))
        nodes = preset.nodes_on(preset.instance_type)
        yield Run.on_type(workload, preset, preset.instance_type, nodes).stage(stage.name)


def stale() -> Iterator[tuple[Path, str | None]]:
    """Yield each committed file that is not as it would be rendered, with the right text; None: it is to go."""
    for page in dict.fromkeys(table.page for table in TABLES if table.page.exists()):
        text = written = page.read_text(encoding="utf-8")
        for table in TABLES:
            text = table.put_into(text) if table.page == page else text
        if text != written:
            yield page, text
    for data in (health_data, health_xids, software_lock):
        if not data.PATH.exists() or data.PATH.read_text(encoding="utf-8") != data.text():
            yield data.PATH, data.text()
    for name in registry.names():
        workload = registry.workload(name)
        expected = dict(committed(workload))
        for path, text in expected.items():
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                yield path, text
        for path in sorted((registry.folder(workload) / "manifests").glob("*")):
            if path not in expected:
                yield path, None
