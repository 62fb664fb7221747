"""The exporter of a node's EFA devices: it reads sysfs at each scrape, and keeps the sums of the node in between.

A counter that starts again, because the driver was loaded anew or 64 bits overflowed, is exported as it is: Prometheus'
rate() and increase() take a lower value for a start from 0. Values above 2^53 lose their last bits in Prometheus, which
is less than a millionth of what passes between two scrapes there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client.core import Metric

from ..records import Samples, read
from ..server import parser, serve
from .counters import DEVICE, NODE, PORT
from .devices import REASONS, Device, Port, Reader
from .totals import Totals

MAX_UNKNOWN = 64
"""Series of unknown counters, over all devices: a new driver is not to double what Prometheus stores."""

_ACTIVE = 4
"""The state of a port from which on it carries data (Linux, include/rdma/ib_verbs.h, ib_port_state)."""


class EfaExporter:
    """The metrics of the EFA devices below a sysfs, and sums of the node since the exporter started."""

    def __init__(self, sys: Path) -> None:
        self._sys = sys
        self._records = read("efa")
        self._totals = Totals()
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of one scrape; another one waits, for a value read before it would look like a restart."""
        with self._lock:
            families = list(self._families())
        yield from families

    def _families(self) -> Iterator[Metric]:
        begun = time.perf_counter()
        samples, reader = Samples(self._records), Reader(self._sys)
        unknown: list[tuple[tuple[str, str, str], int]] = []
        found = 0
        for device in reader.devices():
            found += 1
            unknown += _add(samples, device)
            self._count(device)
        for labels, value in unknown[:MAX_UNKNOWN]:
            samples.add("efa_unknown_counter", value, labels)
        for name, total in self._totals.values():
            samples.add(NODE[name], total)
        samples.add("efa_devices", found)
        samples.add("efa_exporter_unknown_counters", len(unknown))
        samples.add("efa_exporter_left_out_counters", max(0, len(unknown) - MAX_UNKNOWN))
        for reason in REASONS:
            samples.add("efa_exporter_unreadable_files", reader.unreadable[reason], (reason,))
        samples.add("efa_exporter_scrape_seconds", time.perf_counter() - begun)
        yield from samples.families()

    def _count(self, device: Device) -> None:
        """Add a device's counters to the node's sums; an old driver has those of the port at the device too."""
        counters = dict(device.counters)
        for port in device.ports:
            counters.update(port.counters)
        for name in NODE:
            if name in counters:
                self._totals.add(name, (device.name,), counters[name])


def _add(samples: Samples, device: Device) -> list[tuple[tuple[str, str, str], int]]:
    """Add a device's samples, and return its unknown counters with the values of their labels.

    Drivers before 1.14 report all counters at the device and at its port alike (amzn/amzn-drivers, commit babac00
    splits them): the name tells which of the two a counter is of. EFA devices have one port.
    """
    unknown: list[tuple[tuple[str, str, str], int]] = []
    first = device.ports[0].name if device.ports else "1"
    for port in device.ports:
        _add_port(samples, device, port)
        for name, value in port.counters.items():
            if name in PORT:
                samples.add(PORT[name], value, (device.name, port.name))
            elif name not in DEVICE:
                unknown.append(((device.name, port.name, name), value))
    for name, value in device.counters.items():
        if name in DEVICE:
            samples.add(DEVICE[name], value, (device.name,))
        elif name in PORT:
            samples.add(PORT[name], value, (device.name, first))
        else:
            unknown.append(((device.name, "", name), value))
    for port in device.ports:
        for name, value in port.counters.items():
            if name in DEVICE:
                samples.add(DEVICE[name], value, (device.name,))
    if device.lifespan is not None:
        samples.add("efa_device_lifespan_seconds", device.lifespan, (device.name,))
    facts = (device.pci_address, device.pci_device, device.firmware, device.numa_node)
    samples.add("efa_device_info", 1, (device.name, *facts))
    return unknown


def _add_port(samples: Samples, device: Device, port: Port) -> None:
    values = {
        "efa_port_lifespan_seconds": port.lifespan,
        "efa_port_state": port.state,
        "efa_port_physical_state": port.physical_state,
        "efa_port_rate_bytes_per_second": port.rate,
    }
    for name, value in values.items():
        if value is not None:
            samples.add(name, value, (device.name, port.name))
    if port.state is not None and port.state < _ACTIVE:
        samples.add("efa_inactive_port_state", port.state, (device.name, port.name))


def main(words: Sequence[str]) -> int:
    """Run the exporter with these words of a command line, and return its exit code."""
    options = parser("export the counters of this node's EFA devices")
    options.add_argument("--sys", type=Path, default=Path("/sys"), help="where the node's sysfs is mounted")
    read_options = options.parse_args(list(words))
    return serve(read_options, EfaExporter(read_options.sys).collect)
