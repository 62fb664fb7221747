"""The configuration by which a node collects its metrics, alike for every kind of node that programs of ours set up."""

from __future__ import annotations

from typing import Any

from catalog.observability import metrics_parameter
from catalog.ports import (
    COLLECTOR_PORT,
    DCGM_EXPORTER_PORT,
    EFA_EXPORTER_PORT,
    NEURON_MONITOR_PORT,
    NODE_EXPORTER_PORT,
    RUNS_EXPORTER_PORT,
    SLURM_EXPORTER_PORT,
    SLURMCTLD_PORT,
)
from catalog.versions import (
    DCGM_EXPORTER_IMAGE,
    DCGM_EXPORTER_PACKAGE,
    NODE_EXPORTER,
    NODE_EXPORTER_SHA256,
    NODE_EXPORTER_URL,
    PROMETHEUS,
    PROMETHEUS_SHA256,
    PROMETHEUS_URL,
)
from settings.deployment import Settings

PORTS = {
    "node": NODE_EXPORTER_PORT,
    "dcgm": DCGM_EXPORTER_PORT,
    "neuron": NEURON_MONITOR_PORT,
    "efa": EFA_EXPORTER_PORT,
    "slurm": SLURM_EXPORTER_PORT,
    "runs": RUNS_EXPORTER_PORT,
    "slurmctld": SLURMCTLD_PORT,
    "collector": COLLECTOR_PORT,
}
"""The ports of a node by the jobs that scrape them; `collector` is the agent's own, and `slurmctld` Slurm's."""


def node_exporter_release() -> dict[str, Any]:
    """Return the release of Prometheus' node exporter as nodes are told."""
    return {"version": NODE_EXPORTER, "url": NODE_EXPORTER_URL, "sha256": dict(NODE_EXPORTER_SHA256)}


def node_metrics(settings: Settings, *, cluster: str, kind: str) -> dict[str, Any]:
    """Return what the nodes of a cluster are told; plain text, so that it can be packed before anything is deployed.

    `cluster` is the cluster's name, the value of the label `cluster`, and `kind` that of `cluster_kind`.
    """
    section, lustre = settings.observability, settings.storage.lustre
    assert section
    return {
        "parameter": metrics_parameter(settings.name),
        "region": settings.region,
        "cluster": cluster,
        "cluster_kind": kind,
        "scrape_seconds": section.scrape_seconds,
        "series_limit": section.max_series_per_exporter,
        "prometheus": {"version": PROMETHEUS, "url": PROMETHEUS_URL, "sha256": dict(PROMETHEUS_SHA256)},
        "node_exporter": node_exporter_release(),
        "ports": PORTS,
        # Runs keep their folders on Lustre; without it they keep none that all nodes see.
        "runs": f"{lustre.mount_path}/runs" if lustre else "",
        "dcgm_package": DCGM_EXPORTER_PACKAGE,
        "dcgm_image": DCGM_EXPORTER_IMAGE,
    }
