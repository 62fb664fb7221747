"""A summary of a configuration: the stacks and clusters that it deploys, in one sentence."""

from __future__ import annotations

from catalog.cluster_kinds import KINDS
from settings.deployment import Settings
from settings.rules.selection import uses


def summary(settings: Settings) -> str:
    """Return what would be deployed: name, place, network, storage, services, clusters with their pools, workloads."""
    zones = ", ".join(settings.availability_zones)
    network = settings.network.existing
    parts = [f"network {network.vpc_id}" if network else "a network", *_storage(settings)]
    if settings.accounting:
        parts.append("an accounting database")
    if settings.directory:
        parts.append(f"a directory ({len(settings.directory.users)} users)")
    if settings.observability:
        existing = settings.observability.workspace_id
        parts.append(f"metrics in {existing}" if existing else "a metrics workspace")
    if settings.images:
        parts.append(f"pipelines of machine images ({', '.join(settings.images)})")
    parts += [f"{KINDS[name].summary} ({', '.join(_pools(settings, name))})" for name in settings.clusters]
    shipped = dict.fromkeys(entry.label for entry in settings.workloads)
    if shipped:
        parts.append(f"the workloads {', '.join(shipped)}")
    return f"deploys '{settings.name}' in {settings.region} ({zones}): {', '.join(parts)}"


def _storage(settings: Settings) -> list[str]:
    storage = settings.storage
    parts = [f"bucket {storage.bucket.existing}" if storage.bucket.existing else "a data bucket"]
    for name, section in (("Lustre", storage.lustre), ("OpenZFS", storage.openzfs)):
        if section and section.existing:
            parts.append(f"{name} {section.existing.file_system_id}")
        elif section:
            parts.append(f"{name} of {section.capacity_gib} GiB")
    return parts


def _pools(settings: Settings, cluster: str) -> list[str]:
    return [
        f"{use.name}: {use.pool.nodes} x {use.pool.instance_type} {use.pool.capacity.source}"
        for use in uses(settings)
        if use.pool and use.cluster == cluster
    ]
