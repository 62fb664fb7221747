"""Benchmark of rendering: every workload in every format for every instance type that it runs on."""

from __future__ import annotations

import statistics
import time

from catalog.cluster_info import ClusterInfo
from catalog.instances import instance_types
from tests.bench.measure import Measure
from workloads import registry
from workloads.checks import check_run
from workloads.formats import example_cluster
from workloads.render.all import render
from workloads.spec import Format, Run

_BOUND = 0.5
"""Seconds per 1,000 manifests."""
_ROUNDS = 5


def everything() -> Measure:
    """Render all and return the median of some rounds in one process."""
    runs = [
        (Run.on_type(workload, workload.reference, name, workload.reference.nodes), format_)
        for workload in map(registry.workload, registry.names())
        for name in instance_types()
        for format_ in workload.formats
    ]
    runs = [(run, format_) for run, format_ in runs if not any(f.is_error for f in check_run(run))]
    infos = {format_: ClusterInfo.example(example_cluster(format_), registry.names()) for format_ in Format}

    def once() -> float:
        start = time.perf_counter()
        for run, format_ in runs:
            render(run, format_, infos[format_])
        return time.perf_counter() - start

    once()
    return Measure(
        "1,000 manifests rendered",
        statistics.median(once() for _ in range(_ROUNDS)) * 1000 / len(runs),
        _BOUND,
        "s",
        f"all workloads, formats and instance types: {len(runs)} manifests of {len(registry.names())} workloads",
    )
