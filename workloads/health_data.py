"""The catalog data of the health checks: the devices of every instance type, as the JSON file beside their code.

The checks run on nodes and in images, where the catalog is not. `trainforge render --write` writes the file.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from catalog.instance_facts import InstanceFacts
from catalog.instances import INSTANCES

PATH = Path(__file__).parent / "runtime" / "health" / "instances.json"
_ABOUT = "Generated from the catalog by 'make manifests': change that, not this."


def module(name: str) -> Any:
    """Return a module of the health checks, for tables of docs/; its code is a package of its own in jobs."""
    return import_module(f"workloads.runtime.health.{name}")


def text() -> str:
    """Return the text of the file: an object for each instance type, a line each."""
    lines = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(devices(facts))}" for name, facts in INSTANCES.items()
    )
    return f'{{"about": {json.dumps(_ABOUT)},\n "instance_types": {{\n{lines}\n }}}}\n'


def devices(facts: InstanceFacts) -> dict[str, Any]:
    """Return the devices of a type, by the fields of `Expected` in runtime/health/instance_type.py."""
    found: dict[str, Any] = {"efa": facts.efa_interfaces}
    if facts.accelerator is not None:
        found |= {
            "accelerator": facts.accelerator.kind,
            "name": facts.accelerator.name,
            "count": facts.accelerators,
            "memory_mib": facts.accelerator.memory_mib,
            "cores": facts.accelerator.cores,
            "nvlinks": facts.nvlinks_per_gpu,
        }
    if facts.instance_store is not None:
        found["local_disks"] = facts.instance_store.count
    return found
