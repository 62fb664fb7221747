"""The rule on checkpoints: those that a run keeps must fit the file system that its folder is in."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.storage import nearest_lustre_capacity
from settings.checks.rule import Problem, Subject, error
from settings.checks.selection import facts
from settings.checks.shipping import shippings
from settings.checks.storage import made_lustre
from settings.values import shown
from workloads.footprint import GIB, gib
from workloads.request import resolve


@error("workload-checkpoints", too_strict=True, leans_on=("pools", "storage"))
def _too_large(subject: Subject) -> Iterator[Problem]:
    """A run whose file system is full cannot save, and what it has computed since is lost.

    One checkpoint is written before the oldest goes, so one more than those that stay must fit. Too strict where the
    file system compresses them, which LZ4 hardly does with trained weights, or where old ones are moved away.
    """
    lustre = made_lustre(subject.settings)
    if lustre is None:
        return
    seen = set()
    for shipping in shippings(subject.settings):
        pool = shipping.pool if shipping.pool and facts(shipping.pool.instance_type) else None
        if pool is None or shipping.path in seen:
            continue
        run = resolve(shipping.wanted.request(shipping.cluster, pool)).run
        needed = run.footprint if run else None
        if run is None or needed is None:
            continue
        seen.add(shipping.path)
        most = needed.checkpoints * needed.checkpoint
        if most > lustre.capacity_gib * GIB:
            yield Problem(
                "storage.lustre.capacity_gib",
                lustre.capacity_gib,
                f"'{shown(run.workload.name)}' with the preset '{run.preset.name}' has up to {needed.checkpoints} "
                f"checkpoints of {gib(needed.checkpoint)} at a time, {gib(most)}, and the Lustre file system has "
                f"{lustre.capacity_gib:,} GiB",
                f"set 'capacity_gib: {nearest_lustre_capacity(-(-most // GIB))}' or more under 'storage.lustre'",
            )
