"""What a configuration ships: each workload on each cluster, and whether nodes see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from catalog.pool import Pool
from settings.deployment import Settings
from settings.sections.workloads import WorkloadSettings

SLURM_CLUSTERS = ("hyperpod", "parallelcluster")
"""Clusters whose jobs are submitted on a node, from files that it sees."""


@dataclass(frozen=True, slots=True)
class Shipping:
    """One workload on one cluster: where both stand, and the pool, None where there is none."""

    path: str
    wanted: WorkloadSettings
    cluster_path: str
    cluster: str
    pool: Pool | None


def shippings(settings: Settings) -> Iterator[Shipping]:
    """Yield each workload on each of its clusters, in order."""
    for index, wanted in enumerate(settings.workloads):
        pool = settings.pool(wanted.pool) if wanted.pool in settings.pools else None
        for number, cluster in enumerate(wanted.clusters):
            path = f"workloads.{index}"
            yield Shipping(path, wanted, f"{path}.clusters.{number}", cluster, pool)


def in_images(settings: Settings) -> Iterator[Shipping]:
    """Yield what runs in an image that is built for it."""
    return (shipping for shipping in shippings(settings) if shipping.wanted.virtual_environment is None)


def in_environments(settings: Settings) -> Iterator[tuple[Shipping, str]]:
    """Yield what runs in a virtual environment on the nodes, and its folder."""
    for shipping in shippings(settings):
        if shipping.wanted.virtual_environment is not None:
            yield shipping, shipping.wanted.virtual_environment


def why_unseen(settings: Settings) -> str:
    """Say why nodes may not see the data bucket, and with it the bundle; nothing where they do."""
    lustre = settings.storage.lustre
    if lustre is None:
        return "there is no Lustre file system"
    if lustre.existing:
        return "whether the existing Lustre file system shows the data bucket is not known"
    return "" if lustre.repository else "the Lustre file system does not show the data bucket"
