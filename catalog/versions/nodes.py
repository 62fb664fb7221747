"""Pins of what nodes and servers of our own have, outside containers."""

from __future__ import annotations

from catalog.versions.pin import PREDECESSOR, Pin
from catalog.versions.stack import NCCL as _NCCL

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

# Machine images: what they alone install, and the keys that sign it.
PYXIS_COMMIT = Pin(
    "pyxis' commit",
    "424563865a491f2d8f3c396a095d18db81f1fb07",
    "tag v0.20.0 of NVIDIA/pyxis on GitHub, read with git in a copy of the repository on 2026-11-28",
)

_PUBLIC = "read 2026-11-28; not downloaded here, unverified"
NCCL_PACKAGE = Pin(
    "NCCL's package",
    f"{_NCCL}-1+cuda13.0",
    f"public repositories on GitHub install it so from NVIDIA's CUDA repository, {_PUBLIC}",
)
AWS_CLI = Pin(
    "AWS CLI", "2.36.40", f"two public repositories on GitHub that download it by one digest, {_PUBLIC}"
)
SSM_AGENT = Pin(
    "SSM agent", "3.3.5226.0", f"public repositories on GitHub download it by this version, {_PUBLIC}"
)
AWS_CLI_SIGNING_KEY = Pin(
    "AWS CLI's signing key",
    "FB5DB77FD5C118B80511ADA8A6310ACC4672475C",
    "the fingerprint that public repositories on GitHub compare, as from the AWS CLI User Guide, read 2026-11-28",
)
SSM_AGENT_SIGNING_KEY = Pin(
    "SSM agent's signing key",
    "1C5B395CBE5E74E2F1CA21592784DBF388D19D46",
    "read by gpg from files/amazon-ssm-agent.gpg of aws/amazon-ecs-ami on GitHub, of 2026-06-05, by which AWS's ECS "
    "images verify the agent; a public Ansible role has it too; read 2026-11-29; it expires 2027-11-25",
)
SSM_AGENT_KEY_COMMIT = Pin(
    "commit of the SSM agent's signing key",
    "440dda5b9715373223de7a5db091d594571999fa",
    "the newest of that file in aws/amazon-ecs-ami on GitHub, read with git in a copy of the repository on 2026-11-29",
)
NVIDIA_SIGNING_KEY = Pin(
    "signing key of NVIDIA's CUDA repository",
    "EB693B3035CD5710E231E123A4B469963BF863CC",
    "the fingerprint of 3bf863cc.pub that public repositories on GitHub compare, read 2026-11-28",
)
NVIDIA_RPM_SIGNING_KEY = Pin(
    "signing key of NVIDIA's CUDA repositories for dnf",
    "610C7B14E068A878070DA4E99CD0A493D42D0685",
    "the fingerprint of D42D0685.pub that public repositories on GitHub compare; others have its address for Amazon "
    "Linux 2023; read 2026-11-29",
)
NVLSM = Pin(
    "NVLink subnet manager",
    "2025.10.14",
    "Amazon Linux 2023's release notes: 2023.12.20260622 brings it, and 2023.12.20260817, which brings our driver "
    "595.91.07 and its nvlink5, brings no other; a public set-up on GitHub had it from NVIDIA's repository for Ubuntu "
    "on an HGX machine; read 2026-11-29. Its version is a date of no driver's branch; not downloaded here, unverified",
)
NVIDIA_TOOLKIT_SIGNING_KEY = Pin(
    "signing key of NVIDIA's container toolkit",
    "C95B321B61E88C1809C4F759DDCAE044F796ECB0",
    "the fingerprint that public repositories on GitHub compare, read 2026-11-28",
)
NEURON_SIGNING_KEY = Pin(
    "Neuron's signing key",
    "00FA2C1079260870A76D2C285749CAD8646D9185",
    "the name of the key's file in Bottlerocket's kernel packages on GitHub, which take Neuron's driver by it; read "
    "2026-11-28",
)
LUSTRE_SIGNING_KEY = Pin(
    "signing key of FSx's Lustre client for Ubuntu",
    "9C36DD9C515F10DBC3AA835C5D5CCC3383A962E1",
    "a public installer of the client on GitHub that refuses any other, read 2026-11-28; one source",
)
PACKER_AMAZON = Pin(
    "Packer's plugin amazon", "1.3.2", f"public templates on GitHub require it or newer, {_PUBLIC}"
)
PACKER_ANSIBLE = Pin("Packer's plugin ansible", "1.1.1", f"public templates on GitHub pin it, {_PUBLIC}")
