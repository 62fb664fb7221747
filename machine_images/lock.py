"""The variables of the playbooks: versions, downloads, repositories and sources, as the catalog has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from catalog import versions
from catalog.machine_images import DOWNLOADS, REPOSITORIES, SOURCES, Download

LOCK = Path(__file__).parent / "group_vars" / "all" / "lock.yml"
"""The committed file, which Ansible reads for every playbook beside it."""

_HEADER = """\
---
# Written by 'make machine-images' from catalog/versions and catalog/machine_images.py. Do not edit: 'make lint'
# fails where this differs from them.
"""
VERSIONS = (
    *(
        "AWS_OFI_NCCL",
        "CUDA",
        "DCGM_EXPORTER_PACKAGE",
        "EFA_INSTALLER",
        "NCCL",
        "NCCL_PACKAGE",
        "NEURON_COLLECTIVES",
    ),
    *(
        "NEURON_DRIVER",
        "NEURON_RUNTIME",
        "NEURON_TOOLS",
        "NVIDIA_CONTAINER_TOOLKIT",
        "NVIDIA_DRIVER",
        "NVLSM",
        "UBUNTU",
    ),
)
"""Names of the pins that roles install as packages, or that they compare with; Ubuntu is that of the repositories."""


def lock() -> dict[str, Any]:
    """Return the value of the playbooks' variable `lock`."""
    return {
        "versions": {name.lower(): str(getattr(versions, name)) for name in VERSIONS},
        "downloads": {download.name: _download(download) for download in DOWNLOADS},
        "repositories": {
            repository.name: {
                "title": repository.title,
                "key": str(repository.key),
                "key_url": repository.key_url,
                "apt": repository.apt,
                "dnf": repository.dnf,
                "dnf_key": str(repository.dnf_key or repository.key),
                "dnf_key_url": repository.dnf_key_url or repository.key_url,
            }
            for repository in REPOSITORIES
        },
        "sources": {
            source.name: {
                "version": str(source.version),
                "url": source.url,
                "commit": str(source.commit),
            }
            for source in SOURCES
        },
    }


def text() -> str:
    """Return the content of the committed file."""
    return _HEADER + yaml.safe_dump({"lock": lock()}, sort_keys=False, width=1000)


def _download(download: Download) -> dict[str, str]:
    signature = download.signature
    return {
        "version": str(download.version),
        "url": download.url,
        "sha256": download.sha256,
        "key": str(signature.key) if signature else "",
        "key_url": signature.key_url if signature else "",
    }
