"""The list of workloads: all of them by cluster, or one with its presets, stages and formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import typer

from cli.mistakes import fail
from cli.table import print_table
from workloads import registry
from workloads.formats import FORMATS, default_format
from workloads.preset import Override, Preset
from workloads.spec import Workload
from workloads.stage import Stage, dependencies


def print_workloads(name: str | None, *, as_json: bool) -> None:
    """Print all workloads by cluster, or the one of a name with its parts; or the same as JSON."""
    if name is not None and name not in registry.names():
        fail(registry.UnknownWorkloadError(name))
    chosen = [registry.workload(one) for one in registry.names() if name in (None, one)]
    if as_json:
        typer.echo(json.dumps([_entry(workload) for workload in chosen], indent=2))
    elif name is None:
        rows = [(one.name, *(_on(one, cluster) for cluster in FORMATS)) for one in chosen]
        print_table(("workload", *FORMATS), rows, headed=True)
    else:
        print_table(("what", "name", "of it"), [*_parts(chosen[0])])


def _on(workload: Workload, cluster: str) -> str:
    """Return a cluster, the format that a workload has on it by default, and how that was proven."""
    format_ = default_format(cluster, workload.formats)
    return "-" if format_ is None else f"{cluster} as {format_}: {workload.proofs[format_]}"


def _parts(workload: Workload) -> Iterator[tuple[str, str, str]]:
    """Yield the presets, stages and formats of a workload."""
    for preset in workload.presets.values():
        yield "preset", preset.name, "; ".join(_size(preset))
    for stage in workload.stages:
        yield "stage", stage.name, _stage(stage)
    for format_ in workload.formats:
        proven = workload.proofs[format_]
        yield "format", format_, f"{proven}: {proven.size or 'nothing ran'}"


def _entry(workload: Workload) -> dict[str, Any]:
    """Return a workload as JSON has it."""
    return {
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


def _stage(stage: Stage) -> str:
    """Return a stage's nodes, the presets that need it, and its purpose."""
    nodes = (
        "the run's nodes" if stage.nodes is None else f"{stage.nodes} node{'s' if stage.nodes > 1 else ''}"
    )
    of = "" if stage.presets is None else f", of {', '.join(stage.presets)}"
    return f"{nodes}{of}{f': {stage.title}' if stage.title else ''}"


def _override(override: Override) -> dict[str, object]:
    """Return what a preset has otherwise on an instance type, as JSON has it."""
    return {
        "nodes": override.nodes,
        "arguments": list(override.arguments),
        "environment": dict(override.environment),
    }


def _size(preset: Preset) -> Iterator[str]:
    """Yield a preset's reference, and what it has otherwise on instance types."""
    yield f"{preset.nodes} x {preset.instance_type}"
    for key, override in preset.on.items():
        nodes = [f"{override.nodes} nodes"] if override.nodes else []
        variables = [f"{name}={value}" for name, value in override.environment.items()]
        yield f"on {key}: {', '.join([*nodes, *override.arguments, *variables])}"
