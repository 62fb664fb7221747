"""The part of a node's configuration that is about its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .release import Release


@dataclass(frozen=True)
class Metrics:
    """The metrics of a node: the SSM parameter that names their destination, labels, releases, ports of exporters.

    `ports` are by the name of a job: node, dcgm, neuron, efa, slurm, runs; `collector` is the agent's own and
    `slurmctld` Slurm's. `runs` is the folder of runs on the shared file system; empty without one.
    `host_folder` is the folder by which a host of AWS Batch and its jobs tell each other of metrics; empty elsewhere.
    `dcgm_package` is NVIDIA's exporter as apt names it, `NAME=VERSION`, and `dcgm_image` for nodes whose system has no
    package of it.
    """

    parameter: str
    region: str
    cluster: str
    cluster_kind: str
    scrape_seconds: int
    series_limit: int
    prometheus: Release
    node_exporter: Release
    ports: Mapping[str, int]
    dcgm_package: str
    dcgm_image: str
    runs: str = ""
    host_folder: str = ""


def metrics_of(data: Any) -> Metrics:
    """Return what a table of the configuration says.

    Raises:
        KeyError: a key is missing.
        TypeError: a value is of another kind.
        AttributeError: a value is no table.
        ValueError: a value is no number.
    """
    return Metrics(
        **{key: str(data[key]) for key in ("parameter", "region", "cluster", "cluster_kind")},
        scrape_seconds=int(data["scrape_seconds"]),
        series_limit=int(data["series_limit"]),
        prometheus=release_of(data["prometheus"]),
        node_exporter=release_of(data["node_exporter"]),
        dcgm_package=str(data["dcgm_package"]),
        dcgm_image=str(data["dcgm_image"]),
        runs=str(data.get("runs", "")),
        host_folder=str(data.get("host_folder", "")),
        ports={str(job): int(port) for job, port in data["ports"].items()},
    )


def release_of(data: Any) -> Release:
    """Return a release from its table; raises as `metrics_of` does."""
    return Release(
        version=str(data["version"]),
        url=str(data["url"]),
        sha256={str(machine): str(digest) for machine, digest in data["sha256"].items()},
    )
