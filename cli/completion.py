"""The values that a shell completes for options and arguments; completion never calls AWS and never fails."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import typer

from catalog.cluster_kinds import KINDS, LOGIN


def _beginning(values: Iterable[str], incomplete: str) -> list[str]:
    return [value for value in values if value.startswith(incomplete)]


def workloads(incomplete: str) -> list[str]:
    """Return the names of workloads."""
    from workloads import registry

    return _beginning(registry.names(), incomplete)


def clusters(incomplete: str) -> list[str]:
    """Return the clusters that a run can be launched on."""
    return _beginning(KINDS, incomplete)


def profilers(incomplete: str) -> list[str]:
    """Return the profilers of a run."""
    from workloads.profile import Profiler

    return _beginning(Profiler, incomplete)


def login_clusters(incomplete: str) -> list[str]:
    """Return the clusters that people log in to, and the word for the deployment's Grafana."""
    return _beginning((*LOGIN, "grafana"), incomplete)


def presets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the presets of the workload on the command line; of all workloads where there is none yet."""
    from workloads import registry

    # The option that waits for its value ends the reading of the line: arguments before it are left over.
    given = [name for name in (ctx.params.get("workload"), *ctx.args) if name in registry.names()]
    found = dict.fromkeys(
        preset for name in given[:1] or registry.names() for preset in registry.workload(name).presets
    )
    return _beginning(found, incomplete)


def stages(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the stages of the workload on the command line, the last one `train`; of all where there is none yet."""
    from workloads import registry
    from workloads.stage import TRAIN

    given = [name for name in (ctx.params.get("workload"), *ctx.args) if name in registry.names()]
    found = dict.fromkeys(
        stage.name for name in given[:1] or registry.names() for stage in registry.workload(name).stages
    )
    return _beginning([*found, TRAIN], incomplete)


def formats(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the formats of the cluster on the command line; all where there is none yet."""
    given = KINDS.get(str(ctx.params.get("on")))
    found = dict.fromkeys(one for kind in ([given] if given else KINDS.values()) for one in kind.formats)
    return _beginning(found, incomplete)


def instance_types(incomplete: str) -> list[str]:
    """Return the instance types of the catalog."""
    from catalog.instances import instance_types as known

    return _beginning(known(), incomplete)


def pools(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the pools of the configuration that the command would use; none where it cannot be read."""
    from settings.configuration_file import configuration_file
    from settings.loaded_config import read_file

    given = ctx.params.get("config")
    settings = read_file(configuration_file(given if isinstance(given, str | Path) else None, "-c")).settings
    return _beginning(settings.pools if settings else (), incomplete)


def nodes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what `--node` takes beside instance ids: kinds of node, and pools."""
    return [*_beginning(("login", "controller", "head"), incomplete), *pools(ctx, incomplete)]
