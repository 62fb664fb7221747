"""Reads data/ into instance facts: EC2's records, HyperPod's list, and the sourced overrides on top."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from catalog.instances import Accelerator, InstanceFacts, InstanceStore, NetworkCard


def read(name: str) -> dict[str, Any]:
    """Return the parsed data file `name`."""
    data: dict[str, Any] = json.loads((files("catalog") / "data" / name).read_text(encoding="utf-8"))
    return data


def load() -> Mapping[str, InstanceFacts]:
    """Return every instance type by name, sorted."""
    records = read("instances.json")["instances"]
    hyperpod = frozenset(read("hyperpod.json")["instance_types"])
    return MappingProxyType({name: _facts(name, records[name], hyperpod) for name in sorted(records)})


def _facts(name: str, record: Mapping[str, Any], hyperpod: frozenset[str]) -> InstanceFacts:
    accelerator = record.get("accelerator")
    disks = record.get("instance_store") or [None]
    return InstanceFacts(
        name=name,
        architecture=record["architectures"][0],
        vcpus=record["vcpus"],
        cores=record["cores"],
        threads_per_core=record["threads_per_core"],
        memory_mib=record["memory_mib"],
        network_cards=_cards(record["network_cards"]),
        efa_interfaces=record["efa_interfaces"],
        network_performance=record["network_performance"],
        usage_classes=tuple(record["usage_classes"]),
        hyperpod=name in hyperpod,
        valid_threads_per_core=tuple(record.get("valid_threads_per_core", ())),
        bare_metal=record["bare_metal"],
        accelerator=Accelerator(**accelerator) if accelerator else None,
        instance_store=InstanceStore(**disks[0]) if disks[0] else None,
    )


def _cards(groups: list[dict[str, Any]]) -> tuple[NetworkCard, ...]:
    return tuple(
        NetworkCard(
            index=index,
            max_interfaces=group["max_interfaces"],
            efa="efa" in group["types"],
            efa_only="efa-only" in group["types"],
            bandwidth_gbps=group["baseline_gbps"],
        )
        for group in groups
        for index in range(group["first"], group["first"] + group["count"])
    )
