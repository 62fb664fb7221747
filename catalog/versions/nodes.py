"""Pins of what nodes and servers of our own have, outside containers."""

from __future__ import annotations

from catalog.versions.pin import PREDECESSOR, Pin

ENROOT = Pin("enroot", "3.5.0", f"{PREDECESSOR}, PCS install-enroot-pyxis.sh")
PYXIS = Pin("pyxis", "0.20.0", f"{PREDECESSOR}, PCS install-enroot-pyxis.sh")
NODE_EXPORTER = Pin("Prometheus node exporter", "1.9.1", f"{PREDECESSOR}, install-node-exporter.sh")
NODE_EXPORTER_URL = (
    "https://github.com/prometheus/node_exporter/releases/download/v{version}/"
    "node_exporter-{version}.linux-{architecture}.tar.gz"
)
NODE_EXPORTER_SHA256 = {
    "x86_64": "becb950ee80daa8ae7331d77966d94a611af79ad0d3307380907e0ec08f5b4e8",
    "aarch64": "848f139986f63232ced83babe3cad1679efdbb26c694737edc1f4fbd27b96203",
}
"""Digests of its archives by machine, as public repositories pin them, all alike (kolla/common/sources.py of
openstack/kolla is one), read 2026-11-24; not downloaded here, unverified. A node refuses any other archive."""
EXPORTERS_BASE = Pin(
    "base image of the exporters",
    "public.ecr.aws/docker/library/python:3.13-slim",
    "as public Dockerfiles on GitHub name it, read 2026-11-28; not pulled here",
)
_KOLLA = (
    "openstack/kolla on GitHub, kolla/common/sources.py, read 2026-11-28; not downloaded here, unverified"
)
PROMETHEUS = Pin("Prometheus", "3.5.2", _KOLLA)
PROMETHEUS_URL = (
    "https://github.com/prometheus/prometheus/releases/download/v{version}/"
    "prometheus-{version}.linux-{architecture}.tar.gz"
)
PROMETHEUS_SHA256 = {
    "x86_64": "552c6d701e27d3c77983bb8a76e61953cb60021f6e10f17a929546a6dedc436a",
    "aarch64": "06a77b3f580b0db0f41e1c52274503b609db58660e44577facb0ee53e4ff8b27",
}
"""Digests of its archives by machine, from the same place. A node refuses any other archive."""
GRAFANA = Pin(
    "Grafana",
    "13.2.0",
    "three public repositories on GitHub that install it by the same digest, read 2026-11-28; not downloaded here",
)
GRAFANA_SHA256 = "4669384cdb0bb5b4a3f804927e57490d17f4cc47258cd1698fc124e99ee58265"
"""Digest of the archive grafana-VERSION.linux-amd64.tar.gz, from the same places. An instance refuses any other."""
AMAZON_PROMETHEUS_PLUGIN = Pin(
    "Grafana's data source for Amazon Managed Prometheus",
    "3.3.5",
    "its page on grafana.com, read 2026-11-28; Grafana checks the signature of a plugin; not downloaded here",
)
LUSTRE = Pin("FSx for Lustre file system type", "2.15", f"{PREDECESSOR}, every template")
UBUNTU = Pin(
    "Ubuntu of servers of our own", "24.04", "the release whose archive carries slapd 2.6; unverified"
)
PARALLELCLUSTER = Pin("AWS ParallelCluster", "3.16.1", "newest on PyPI in November 2026")
