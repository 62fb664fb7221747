"""Reads data/ into instance facts: EC2's records, HyperPod's list, and the sourced overrides on top."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from catalog.instance_facts import Accelerator, InstanceFacts, InstanceStore, NetworkCard

OVERRIDABLE = frozenset(
    {
        *("accelerator", "peak_tflops", "rdma", "nitro", "sockets", "nvlinks_per_gpu", "topology_layers"),
        *("compute_capability", "deep_health_checks", "deep_health_checks_eks"),
    }
)
"""Facts that an entry of data/overrides.json may state."""


def read(name: str) -> dict[str, Any]:
    """Return the parsed data file of that name in data/, such as instances.json or hyperpod.json."""
    data: dict[str, Any] = json.loads((files("catalog") / "data" / name).read_text(encoding="utf-8"))
    return data


def load() -> Mapping[str, InstanceFacts]:
    """Return every instance type by name, sorted.

    The overrides have types that EC2's file lacks; a type in both is taken from EC2's file.
    """
    overrides = read("overrides.json")
    offers = read("hyperpod.json")
    hyperpod = frozenset(offers["instance_types"])
    records: dict[str, dict[str, Any]] = {}
    sources: dict[str, dict[str, str]] = {}
    for name, extra in overrides["instances"].items():
        records[name] = dict(extra["record"])
        sources[name] = {"record": extra["source"], "hyperpod": offers["source"]}
    for name, record in read("instances.json")["instances"].items():
        records[name] = dict(record)
        sources[name] = {"hyperpod": offers["source"]}
    for override in overrides["overrides"]:
        for name, record in records.items():
            if applies(override, name, record, name in hyperpod):
                _apply(override, record, sources[name])
    return MappingProxyType(
        {name: _facts(name, records[name], name in hyperpod, sources[name]) for name in sorted(records)}
    )


def applies(override: Mapping[str, Any], name: str, record: Mapping[str, Any], hyperpod: bool) -> bool:
    """Tell whether an override is about this instance type.

    It selects by `types`, `families` or `accelerators`, and may be narrowed to types that take an EFA
    (`needs_efa`) or that HyperPod offers (`needs_hyperpod`).
    """
    accelerator = record.get("accelerator", {}).get("name")
    chosen = (
        name in override.get("types", ())
        or name.partition(".")[0] in override.get("families", ())
        or accelerator in override.get("accelerators", ())
    )
    efa = bool(record["efa_interfaces"]) or not override.get("needs_efa", False)
    return chosen and efa and (hyperpod or not override.get("needs_hyperpod", False))


def _apply(override: Mapping[str, Any], record: dict[str, Any], sources: dict[str, str]) -> None:
    """Write an override's facts into a record, and its source beside them."""
    for fact, value in override["facts"].items():
        if fact not in OVERRIDABLE:
            raise ValueError(f"data/overrides.json: fact '{fact}' is not one of {sorted(OVERRIDABLE)}")
        record[fact] = {**record.get(fact, {}), **value} if fact == "accelerator" else value
        sources[fact] = override["source"]


def _facts(name: str, record: Mapping[str, Any], hyperpod: bool, sources: Mapping[str, str]) -> InstanceFacts:
    """Build the facts of one instance type."""
    cards = _cards(record["network_cards"])
    accelerator = record.get("accelerator")
    store = _store(name, record.get("instance_store", ()))
    rdma = record.get("rdma") if record["efa_interfaces"] else ()
    return InstanceFacts(
        name=name,
        architecture=record["architectures"][0],
        vcpus=record["vcpus"],
        cores=record["cores"],
        threads_per_core=record["threads_per_core"],
        memory_mib=record["memory_mib"],
        network_cards=cards,
        efa_interfaces=record["efa_interfaces"],
        efa_cards=_efa_cards(record, cards),
        network_performance=record["network_performance"],
        usage_classes=tuple(record["usage_classes"]),
        hyperpod=hyperpod,
        valid_threads_per_core=tuple(record.get("valid_threads_per_core", ())),
        bare_metal=record["bare_metal"],
        accelerator=Accelerator(**accelerator) if accelerator else None,
        instance_store=store,
        rdma=None if rdma is None else tuple(rdma),
        nitro=record.get("nitro"),
        peak_tflops=MappingProxyType(record.get("peak_tflops", {})),
        compute_capability=record.get("compute_capability"),
        sockets=record.get("sockets"),
        nvlinks_per_gpu=record.get("nvlinks_per_gpu"),
        topology_layers=record.get("topology_layers"),
        deep_health_checks=tuple(record.get("deep_health_checks", ())),
        deep_health_checks_eks=tuple(record.get("deep_health_checks_eks", ())),
        sources=MappingProxyType(dict(sources)),
    )


def _cards(groups: list[dict[str, Any]]) -> tuple[NetworkCard, ...]:
    """Unfold the groups of alike network cards."""
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


def _efa_cards(record: Mapping[str, Any], cards: tuple[NetworkCard, ...]) -> tuple[int, ...]:
    """Return the cards that carry an EFA: those named, or every card that can, up to EC2's maximum."""
    if "efa_cards" in record:
        return tuple(record["efa_cards"])
    return tuple(card.index for card in cards if card.efa or card.efa_only)[: record["efa_interfaces"]]


def _store(name: str, disks: list[dict[str, int]]) -> InstanceStore | None:
    """Return the instance store; EC2 could describe disks of several sizes, none of our types has them."""
    if len(disks) > 1:
        raise ValueError(f"data/instances.json: instance type '{name}' has disks of several sizes")
    return InstanceStore(count=disks[0]["count"], size_gb=disks[0]["size_gb"]) if disks else None
