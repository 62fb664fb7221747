"""The sheet of one instance type: its facts, what follows from them, and the sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from catalog.batch import batch_devices, shared_memory_mib
from catalog.efa import efa_environment
from catalog.instance_facts import InstanceFacts
from catalog.interfaces import Interface, network_interfaces, private_addresses
from catalog.pool import InterfaceType
from catalog.slurm import slurm_topology
from catalog.storage import reaches_lustre_by_efa

if TYPE_CHECKING:
    from rich.table import Table

_LAYOUTS: tuple[InterfaceType, ...] = ("efa-only", "efa")
_EC2 = "EC2 DescribeInstanceTypes"


def as_plain(facts: InstanceFacts) -> dict[str, Any]:
    """Return the sheet as JSON values; unknown facts are null."""
    return {
        "facts": _plain(facts),
        "interfaces": {layout: _plain(network_interfaces(facts, layout)) for layout in _LAYOUTS},
        "private_addresses": {
            layout: private_addresses(network_interfaces(facts, layout)) for layout in _LAYOUTS
        },
        "slurm": slurm_topology(facts).parameters(),
        "batch": {
            "devices": list(batch_devices(facts)),
            "shared_memory_mib": shared_memory_mib(facts),
        },
        "environment": efa_environment(facts),
        "reaches_lustre_by_efa": reaches_lustre_by_efa(facts),
    }


def _plain(value: Any) -> Any:
    """Turn facts into dicts and lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def tables(facts: InstanceFacts) -> Iterator[Table]:
    """Yield the sheet as tables for a terminal: the facts, what follows from them, and the sources."""
    from rich import box
    from rich.table import Table

    def table(title: str) -> Table:
        return Table(title=title, box=box.SIMPLE, title_justify="left", show_header=False)

    notes: dict[str, int] = {}
    known = table(facts.name)
    for label, value, source in _rows(facts):
        known.add_row(label, value, f"({notes.setdefault(source, len(notes) + 1)})" if source else "")
    yield known

    derived = table("what follows")
    for label, value in _derived(facts):
        derived.add_row(label, value)
    yield derived

    sources = table("sources")
    for source, number in notes.items():
        sources.add_row(f"({number})", source)
    yield sources


def _rows(facts: InstanceFacts) -> Iterator[tuple[str, str, str]]:
    """Yield label, value and source of every fact; without a source where nothing is known."""
    base = facts.sources.get("record", _EC2)

    def source(fact: str, value: object = True) -> str:
        return "" if value is None else facts.sources.get(fact, base)

    yield "architecture", facts.architecture, base
    yield "processors", f"{facts.vcpus} vCPUs, {facts.cores} cores, {facts.threads_per_core} a core", base
    yield "sockets", _known(facts.sockets), source("sockets", facts.sockets)
    yield "memory", f"{facts.memory_gib:g} GiB", base
    if (device := facts.accelerator) is not None:
        cores = f", {device.total_cores} Neuron cores in all" if device.total_cores else ""
        each = f"{device.memory_gib:.4g} GiB each"
        label = f"{device.count} x {device.manufacturer} {device.name}, {each}{cores}"
        yield "accelerators", label, source("accelerator")
        peaks = ", ".join(f"{kind} {number:g}" for kind, number in facts.peak_tflops.items())
        yield "peak TFLOPS of one", peaks or "unknown", source("peak_tflops")
    if facts.has_gpus:
        capability = facts.compute_capability
        yield "compute capability", capability or "unknown", source("compute_capability", capability)
        links = facts.nvlinks_per_gpu
        yield "NVLinks per GPU", _known(links), source("nvlinks_per_gpu", links)
    if (store := facts.instance_store) is not None:
        yield "instance store", f"{store.count} x {store.size_gb} GB", base
    yield "network", f"{facts.network_performance}, network cards: {len(facts.network_cards)}", base
    yield "EFA interfaces", str(facts.efa_interfaces), base
    if facts.supports_efa:
        rdma = "unknown" if facts.rdma is None else " and ".join(facts.rdma) or "none"
        yield "RDMA over EFA", f"{rdma} (Nitro v{_known(facts.nitro)})", source("rdma", facts.rdma)
    if facts.topology_layers is not None:
        yield "topology layers", str(facts.topology_layers), source("topology_layers")
    yield "sold as", ", ".join(facts.usage_classes), base
    yield "on HyperPod", "yes" if facts.hyperpod else "no", source("hyperpod")
    if facts.hyperpod and facts.is_accelerated:
        for scheduler, fact, found in (
            ("Slurm", "deep_health_checks", facts.deep_health_checks),
            ("EKS", "deep_health_checks_eks", facts.deep_health_checks_eks),
        ):
            checks = ", ".join(found) or "none documented"
            yield f"deep health checks ({scheduler})", checks, facts.sources.get(fact, "")


def _known(value: int | None) -> str:
    """Return the text of a number that may be unknown."""
    return "unknown" if value is None else str(value)


def _derived(facts: InstanceFacts) -> Iterator[tuple[str, str]]:
    """Yield label and value of what the catalog derives."""
    for layout in _LAYOUTS:
        ports = network_interfaces(facts, layout)
        if layout == "efa" and not facts.supports_efa:
            continue
        label = f"interfaces ({layout})" if facts.supports_efa else "interfaces"
        yield label, f"{_ports(ports)}; IP addresses a node: {private_addresses(ports)}"
    yield (
        "slurm.conf",
        " ".join(f"{key}={value}" for key, value in slurm_topology(facts).parameters().items()),
    )
    devices = batch_devices(facts)
    spread = f"{devices[0]} to {devices[-1]} ({len(devices)})" if devices else "none"
    yield "Batch", f"devices {spread}, /dev/shm {shared_memory_mib(facts)} MiB"
    yield "environment", " ".join(f"{key}={value}" for key, value in efa_environment(facts).items()) or "none"
    yield "Lustre over EFA", "yes" if reaches_lustre_by_efa(facts) else "no, TCP"


def _ports(ports: tuple[Interface, ...]) -> str:
    """Return the text of interfaces, equal ones together: `card 0 device 0 interface, card 1-31 device 0 efa`."""
    runs: list[list[Interface]] = []
    for port in ports:
        last = runs[-1][-1] if runs else None
        alike = (
            last is not None
            and (last.device_index, last.interface_type) == (port.device_index, port.interface_type)
            and port.network_card_index == last.network_card_index + 1
        )
        if alike:
            runs[-1].append(port)
        else:
            runs.append([port])
    words = []
    for run in runs:
        first, last = run[0], run[-1]
        cards = str(first.network_card_index)
        if len(run) > 1:
            cards += f"-{last.network_card_index}"
        words.append(f"card {cards} device {first.device_index} {first.interface_type}")
    return ", ".join(words)
