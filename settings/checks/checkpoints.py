"""Rules on a run's folder: it is in a file system that all nodes share, and its checkpoints fit there."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.storage import nearest_lustre_capacity
from settings.checks.rule import Problem, Subject, error
from settings.checks.selection import facts
from settings.checks.shipping import SLURM_CLUSTERS, shippings
from settings.checks.storage import made_lustre, made_openzfs
from settings.deployment import Settings
from settings.parser.values import shown
from workloads.footprint import GIB, gib
from workloads.request import resolve


@error("workload-shared-folder", too_strict=True, leans_on=("storage",))
def _not_shared(subject: Subject) -> Iterator[Problem]:
    """A run's folder holds its checkpoints, which every node must see: Slurm jobs have it in Lustre, else in OpenZFS.

    Too strict where nodes mount a file system of one's own at /fsx. Pods and Batch have rules of their own.
    """
    storage = subject.settings.storage
    if storage.lustre or storage.openzfs:
        return
    for shipping in shippings(subject.settings):
        if shipping.cluster in SLURM_CLUSTERS:
            yield Problem(
                shipping.cluster_path,
                shipping.cluster,
                f"'{shown(shipping.wanted.workload)}' writes runs and checkpoints below '/fsx', and there no shared "
                "file system is mounted",
                "add 'lustre: {}' under 'storage'",
            )


def _file_system(settings: Settings, cluster: str) -> tuple[str, str, int] | None:
    """Return key, name and GiB of the file system that runs of a cluster write to; None where that is not known."""
    storage = settings.storage
    if storage.lustre:
        lustre = made_lustre(settings)
        return ("lustre", "Lustre", lustre.capacity_gib) if lustre else None
    openzfs = made_openzfs(settings)
    if openzfs is None or cluster not in SLURM_CLUSTERS:
        return None
    return "openzfs", "OpenZFS", openzfs.capacity_gib


@error("workload-checkpoints", too_strict=True, leans_on=("pools", "storage"))
def _too_large(subject: Subject) -> Iterator[Problem]:
    """A run whose file system is full cannot save, and what it has computed since is lost.

    One checkpoint is written before the oldest goes, so one more than those that stay must fit. Too strict where the
    file system compresses them, which LZ4 hardly does with trained weights, or where old ones are moved away.
    """
    seen = set()
    for shipping in shippings(subject.settings):
        target = _file_system(subject.settings, shipping.cluster)
        if target is None:
            continue
        key, title, capacity = target
        pool = shipping.pool if shipping.pool and facts(shipping.pool.instance_type) else None
        if pool is None or shipping.path in seen:
            continue
        run = resolve(shipping.wanted.request(shipping.cluster, pool)).run
        needed = run.footprint if run else None
        if run is None or needed is None:
            continue
        seen.add(shipping.path)
        most = needed.checkpoints * needed.checkpoint
        if most > capacity * GIB:
            enough = -(-most // GIB)
            yield Problem(
                f"storage.{key}.capacity_gib",
                capacity,
                f"'{shown(run.workload.name)}' with the preset '{run.preset.name}' has up to {needed.checkpoints} "
                f"checkpoints of {gib(needed.checkpoint)} at a time, {gib(most)}, and the {title} file system has "
                f"{capacity:,} GiB",
                f"set 'capacity_gib: {nearest_lustre_capacity(enough)}' or more under 'storage.lustre'"
                if key == "lustre"
                else "add 'lustre: {}' under 'storage', which runs then use, with a 'capacity_gib' of "
                f"{nearest_lustre_capacity(enough)} or more",
            )
