"""The lock for nodes and images, where the catalog is not: a JSON file beside the code that reads what is installed.

`trainforge render --write` writes the file.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from catalog.versions import (
    BOUNDS,
    COMBINATIONS,
    KUBERNETES,
    NEURON_DRIVER,
    NEURON_SDK,
    NVIDIA_CONTAINER_TOOLKIT,
    NVIDIA_DRIVER,
    PINS,
    STACK,
)

PATH = Path(__file__).parent / "runtime" / "software" / "lock.json"
_ABOUT = "Generated from catalog/versions by 'make manifests': change that, not this."
_OF_NODES = frozenset((NVIDIA_DRIVER.name, NVIDIA_CONTAINER_TOOLKIT.name, NEURON_DRIVER.name))
"""Parts that a container does not bring: they are the node's."""


def text() -> str:
    """Return the text of the file: parts with their pin, scope and source; combinations; bounds."""
    sources = {pin.name: pin.source for pin in PINS}
    parts = {
        name: {
            "version": version,
            "scope": "node" if name in _OF_NODES else "image",
            "source": sources[name],
        }
        for name, version in STACK.items()
        # A release of many packages: no file has its number.
        if name != NEURON_SDK.name
    }
    combinations = [
        {
            "group": row.group,
            "versions": {name: version for name, version in row.versions.items() if name != NEURON_SDK.name},
            "source": row.source,
        }
        for row in COMBINATIONS
        if row is not KUBERNETES
    ]
    document = {
        "about": _ABOUT,
        "parts": parts,
        "combinations": combinations,
        "bounds": [asdict(bound) for bound in BOUNDS],
    }
    return json.dumps(document, indent=1) + "\n"
