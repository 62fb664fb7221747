"""Which formats a cluster runs, and which it gets by default."""

from __future__ import annotations

from types import MappingProxyType

from workloads.spec import Format

FORMATS = MappingProxyType(
    {
        "hyperpod": (Format.SLURM,),
        "parallelcluster": (Format.SLURM,),
        "hyperpod_eks": (Format.HYPERPODPYTORCHJOB, Format.PYTORCHJOB, Format.TRAINJOB, Format.MPIJOB),
        "eks": (Format.TRAINJOB, Format.PYTORCHJOB, Format.MPIJOB),
        "batch": (Format.BATCH,),
        "local": (Format.LOCAL,),
    }
)
"""Formats by cluster, the default first. Clusters are the configuration's section names, and `local`."""


def example_cluster(format_: Format) -> str:
    """Return the cluster whose example site a format's committed manifest is rendered for."""
    return next(cluster for cluster, formats in FORMATS.items() if format_ in formats)


def default_format(cluster: str, supported: tuple[Format, ...]) -> Format | None:
    """Return the first format of a cluster that a workload supports, or None."""
    return next((known for known in FORMATS[cluster] if known in supported), None)
