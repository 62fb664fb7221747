"""The formats that each kind of cluster runs, and the default of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from catalog.cluster_kinds import KINDS
from workloads.spec import Format

FORMATS: Mapping[str, tuple[Format, ...]] = MappingProxyType(
    {kind.name: tuple(map(Format, kind.formats)) for kind in KINDS.values()}
)
"""The formats of each kind of cluster, the default first, as `catalog.cluster_kinds` has them."""


def formats_of(clusters: Iterable[str]) -> frozenset[Format]:
    """Return the formats that any of the clusters runs."""
    return frozenset(format_ for cluster in clusters for format_ in FORMATS[cluster])


def example_cluster(format_: Format) -> str:
    """Return the cluster whose example info a format's committed manifest is rendered for."""
    return next(cluster for cluster, formats in FORMATS.items() if format_ in formats)


def default_format(cluster: str, supported: tuple[Format, ...]) -> Format | None:
    """Return the first format of a cluster that a workload supports, or None."""
    return next((known for known in FORMATS[cluster] if known in supported), None)
