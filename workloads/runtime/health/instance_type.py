"""The instance type of this node, and what the catalog knows of it: counts and sizes that probes compare with.

`instances.json` is generated from the catalog (workloads/health_data.py); a type that it lacks is an error.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "TRAINFORGE_INSTANCE_TYPE"
_DATA = Path(__file__).with_name("instances.json")
_PRODUCT = "sys/devices/virtual/dmi/id/product_name"
_METADATA = "http://169.254.169.254/latest"
"""Address of the instance metadata service (EC2 User Guide, "Use the Instance Metadata Service")."""

_METADATA_SECONDS = 2.0
_FORM = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")


@dataclass(frozen=True)
class Expected:
    """The devices of an instance type: counts, and the memory of one accelerator in MiB.

    `accelerator` is gpu, neuron or empty. `nvlinks` is the number of NVLinks of a GPU; None where no source states it.
    `cores` is the number of Neuron cores of a device. `efa` is the number of EFA interfaces.
    """

    instance_type: str
    accelerator: str = ""
    name: str = ""
    count: int = 0
    memory_mib: int = 0
    cores: int | None = None
    nvlinks: int | None = None
    efa: int = 0
    local_disks: int = 0


def expected(instance_type: str) -> Expected | None:
    """Return the devices of an instance type; None where the catalog lacks it."""
    facts = _types().get(instance_type)
    return None if facts is None else Expected(instance_type, **facts)


def known() -> list[str]:
    """Return the names of all types of the catalog, sorted."""
    return sorted(_types())


def find(root: Path, environment: Mapping[str, str], metadata: str = _METADATA) -> tuple[str, str]:
    """Return this node's instance type and where it is from; both empty where nothing tells it.

    Asked are the variable TRAINFORGE_INSTANCE_TYPE, the firmware (on Nitro the product's name is the type, as AWS's OFI
    plugin for NCCL reads it too), and the metadata service with a token. An answer that is no type's name is none: a
    proxy's page is not an instance type.
    """
    given = environment.get(VARIABLE, "").strip()
    if given:
        return given.removeprefix("ml."), VARIABLE
    try:
        product = (root / _PRODUCT).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        product = ""
    if _FORM.fullmatch(product):
        return product, f"/{_PRODUCT}"
    answer = _metadata(metadata) if metadata else ""
    return (answer, "the instance metadata service") if _FORM.fullmatch(answer) else ("", "")


def _metadata(address: str) -> str:
    """Ask the metadata service; an answer with another status than 200 raises, and counts as none."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    seconds = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    asked = urllib.request.Request(f"{address}/api/token", method="PUT", headers=seconds)  # noqa: S310 -- above
    try:
        with opener.open(asked, timeout=_METADATA_SECONDS) as answer:
            token = answer.read(1024).decode("ascii").strip()
        asked = urllib.request.Request(  # noqa: S310 -- above
            f"{address}/meta-data/instance-type", headers={"X-aws-ec2-metadata-token": token}
        )
        with opener.open(asked, timeout=_METADATA_SECONDS) as answer:
            return str(answer.read(128).decode("ascii").strip())
    except (OSError, ValueError, urllib.error.URLError):
        return ""


def _types() -> dict[str, dict[str, Any]]:
    types: dict[str, dict[str, Any]] = json.loads(_DATA.read_text(encoding="utf-8"))["instance_types"]
    return types
