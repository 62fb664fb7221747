"""A valid configuration for tests, changes to it, and what the rules find in the result."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from settings.deployment import Settings
from settings.loaded_config import LoadedConfig, read
from settings.rules import check

VALID: dict[str, Any] = {
    "name": "demo",
    "region": "us-west-2",
    "availability_zones": ["us-west-2a", "us-west-2b"],
    "pools": {
        "gpu": {
            "instance_type": "g5.8xlarge",
            "nodes": 2,
            "availability_zone": "us-west-2a",
            "capacity": {"source": "on-demand"},
        }
    },
    "storage": {
        "lustre": {"capacity_gib": 1200, "throughput_mbps_per_tib": 250},
        "openzfs": {"capacity_gib": 256, "throughput_mbps": 160},
    },
    "hyperpod": {"pools": ["gpu"]},
}


class _Gone:
    """Its text is the same in every process: names of tests hold it."""

    def __repr__(self) -> str:
        return "GONE"


GONE = _Gone()
"""In place of the value of a key that is taken out."""

PLAN = "arn:aws:sagemaker:us-west-2:111122223333:training-plan/spring-run"
GROUP = "arn:aws:resource-groups:us-west-2:111122223333:group/gpus"
SECRET = "arn:aws:secretsmanager:us-west-2:111122223333:secret:slurm-db-AbCdEf"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMHJM4UNFBn0mNnJfHhRJ9zMlbmcNYyQWHBxsUCAGqZX someone"
NETWORK = {
    "vpc_id": "vpc-0123456789abcdef0",
    "private_subnets": {
        "us-west-2a": "subnet-0123456789abcdef0",
        "us-west-2b": "subnet-0123456789abcdef1",
    },
}


def changed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the valid configuration with values put at dotted paths, mappings made on the way."""
    data = copy.deepcopy(VALID)
    for path, value in changes.items():
        *above, last = path.split("/") if "/" in path else path.split(".")
        place = data
        for key in above:
            if not isinstance(place.get(key), dict):
                place[key] = {}
            place = place[key]
        if value is GONE:
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(value)
    return data


def found(changes: Mapping[str, Any], folder: Path | None = None) -> set[tuple[str, str]]:
    """Return rule and path of every finding in the valid configuration with changes."""
    settings = Settings.model_validate(changed(changes))
    return {(finding.rule, finding.path) for finding in check(settings, folder)}


def read_text(folder: Path, text: str) -> LoadedConfig:
    """Write text to a configuration file in a folder and read it."""
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return read(path)


def read_changed(folder: Path, changes: Mapping[str, Any]) -> LoadedConfig:
    """Read the valid configuration with changes from a file in a folder."""
    return read_text(folder, yaml.safe_dump(changed(changes), sort_keys=False))


def places(reading: LoadedConfig) -> set[tuple[str, str]]:
    """Return rule and path of every finding of a reading."""
    return {(finding.rule, finding.path) for finding in reading.findings}
