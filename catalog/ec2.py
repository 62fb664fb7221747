"""Records of EC2's DescribeInstanceTypes: the fields that the catalog keeps, and the instance families."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

FAMILIES: tuple[str, ...] = (
    # Accelerated: what people train on.
    *("p3dn", "p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300", "p6e-gb200"),
    *("g4dn", "g5", "g6", "g6e", "g7e"),
    *("trn1", "trn1n", "trn2", "trn2u", "inf2"),
    # High-performance computing without accelerators.
    *("hpc6a", "hpc6id", "hpc7a", "hpc8a"),
    # Controllers, login and system nodes.
    *("m5", "m6i", "m7i", "c5", "c6i", "c7i", "t3"),
    # The same on Graviton (arm64), for clusters of Arm nodes. Later families have sizes with EFA, of which no source
    # that was read states the Nitro generation.
    *("m6g", "c6g", "t4g"),
)
"""Instance families of which the catalog has every size."""

FILTERS: tuple[str, ...] = tuple(f"{family}.*" for family in FAMILIES)
"""Values of the `instance-type` filter of DescribeInstanceTypes that select those families."""


def record(description: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce one entry of `InstanceTypes` to what the catalog keeps.

    Network cards that are alike and follow one another become one group (`first`, `count`), because the
    largest types have 32 of them. Keys without a value in EC2's answer are left out, never filled in.

    Raises:
        ValueError: EC2 describes something that the catalog's model cannot hold (several kinds of GPU in
            one type, disks of several sizes, network cards that are not numbered from 0).
    """
    name = description["InstanceType"]
    network = description["NetworkInfo"]
    cpu = description["VCpuInfo"]
    kept: dict[str, Any] = {
        "architectures": sorted(description["ProcessorInfo"]["SupportedArchitectures"]),
        "vcpus": cpu["DefaultVCpus"],
        "cores": cpu["DefaultCores"],
        "threads_per_core": cpu["DefaultThreadsPerCore"],
        "memory_mib": description["MemoryInfo"]["SizeInMiB"],
        "bare_metal": description["BareMetal"],
        "usage_classes": sorted(description["SupportedUsageClasses"]),
        "network_performance": network["NetworkPerformance"],
        "network_cards": _card_groups(name, network["NetworkCards"]),
        "efa_interfaces": network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0),
    }
    if threads := cpu.get("ValidThreadsPerCore"):
        kept["valid_threads_per_core"] = sorted(threads)
    if accelerator := _accelerator(name, description):
        kept["accelerator"] = accelerator
    if disks := description.get("InstanceStorageInfo", {}).get("Disks"):
        if len(disks) > 1:
            raise ValueError(f"instance type '{name}': EC2 describes disks of several sizes")
        kept["instance_store"] = [{"count": disk["Count"], "size_gb": disk["SizeInGB"]} for disk in disks]
    return kept


def _card_groups(name: str, cards: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Group network cards that are alike and follow one another."""
    ordered = sorted(cards, key=lambda card: int(card["NetworkCardIndex"]))
    if [card["NetworkCardIndex"] for card in ordered] != list(range(len(ordered))):
        raise ValueError(f"instance type '{name}': its network cards are not numbered from 0 without gaps")

    def traits(card: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "max_interfaces": card["MaximumNetworkInterfaces"],
            "types": sorted(card["InterfaceTypes"]),
            "baseline_gbps": card["BaselineBandwidthInGbps"],
        }

    groups: list[dict[str, Any]] = []
    for trait, members in groupby(ordered, key=traits):
        first, *others = members
        groups.append({"first": first["NetworkCardIndex"], "count": 1 + len(others), **trait})
    return groups


def _accelerator(name: str, description: Mapping[str, Any]) -> dict[str, Any] | None:
    """Reduce GpuInfo or NeuronInfo; None where the type has neither."""
    gpus = description.get("GpuInfo", {}).get("Gpus", [])
    chips = description.get("NeuronInfo", {}).get("NeuronDevices", [])
    if len(gpus) + len(chips) > 1:
        raise ValueError(f"instance type '{name}': EC2 describes more than one kind of accelerator")
    for gpu in gpus:
        return {
            "kind": "gpu",
            "name": gpu["Name"],
            "manufacturer": gpu["Manufacturer"],
            "count": gpu["Count"],
            "memory_mib": gpu["MemoryInfo"]["SizeInMiB"],
        }
    for chip in chips:
        return {
            "kind": "neuron",
            "name": chip["Name"],
            # NeuronInfo has no manufacturer: Neuron is the name of AWS's own chips' software.
            "manufacturer": "AWS",
            "count": chip["Count"],
            "memory_mib": chip["MemoryInfo"]["SizeInMiB"],
            "cores": chip["CoreInfo"]["Count"],
        }
    return None


@dataclass(frozen=True, slots=True)
class Changes:
    """The differences between a new answer of EC2 and the stored records, each part sorted by instance type.

    `absent` are types that the answer does not describe. `changed` maps a type to its changed keys, each
    with the old and the new value (None for a key that is new or gone).
    """

    added: tuple[str, ...]
    absent: tuple[str, ...]
    changed: Mapping[str, Mapping[str, tuple[Any, Any]]]

    def lines(self) -> Iterator[str]:
        """Yield one line a difference."""
        yield from (f"added    {name}" for name in self.added)
        for name, keys in self.changed.items():
            for key, (old, new) in keys.items():
                yield f"changed  {name}: {key} {json.dumps(old)} -> {json.dumps(new)}"


def changes(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> Changes:
    """Compare kept records with those of a new answer."""
    changed = {
        name: {
            key: (old[name].get(key), new[name].get(key))
            for key in sorted({*old[name], *new[name]})
            if old[name].get(key) != new[name].get(key)
        }
        for name in sorted(old.keys() & new.keys())
    }
    return Changes(
        added=tuple(sorted(new.keys() - old.keys())),
        absent=tuple(sorted(old.keys() - new.keys())),
        changed={name: keys for name, keys in changed.items() if keys},
    )


def to_text(source: str, date: str, instances: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of data/instances.json: one instance type a line, sorted, so that a diff reads well."""
    lines = (
        f"    {json.dumps(name)}: {json.dumps(instances[name], sort_keys=True)}" for name in sorted(instances)
    )
    head = f'{{\n  "source": {json.dumps(source)},\n  "date": {json.dumps(date)},\n  "instances": {{\n'
    return head + ",\n".join(lines) + "\n  }\n}\n"
