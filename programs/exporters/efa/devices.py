"""The EFA devices of a node as sysfs has them, read in one pass that no missing or broken file ends."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .counters import LIFESPAN

DRIVER = "efa"
"""The driver whose devices are EFA devices. Other RDMA devices have counters of other meanings."""

_GONE = (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR)
_DENIED = (errno.EACCES, errno.EPERM)
REASONS = ("gone", "denied", "malformed", "failed")
"""The reasons why a file was not read: the device left, no permission, no number in it, another error."""

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?) Gb/sec")
_STATE = re.compile(r"([0-9]+):")
_MAX_BYTES = 4096
"""A file of sysfs is one page at most."""


@dataclass
class Port:
    """A port: its counters by the names of their files, its lifespan in seconds, its states, its rate in bytes/s.

    What could not be read is None, or not among the counters.
    """

    name: str
    counters: dict[str, int] = field(default_factory=dict)
    lifespan: float | None = None
    state: int | None = None
    physical_state: int | None = None
    rate: float | None = None


@dataclass
class Device:
    """A device: its facts, its own counters, and its ports."""

    name: str
    pci_address: str = ""
    pci_device: str = ""
    firmware: str = ""
    numa_node: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    lifespan: float | None = None
    ports: list[Port] = field(default_factory=list)


class Reader:
    """Reads the EFA devices below a sysfs; `unreadable` counts the files that were not read, by reason."""

    def __init__(self, sys: Path) -> None:
        self._folder = sys / "class" / "infiniband"
        self.unreadable: Counter[str] = Counter()

    def devices(self) -> Iterator[Device]:
        """Yield the devices of EFA's driver, by name; none where the node has no RDMA devices."""
        for name in self._names(self._folder, optional=True):
            if self._driver(self._folder / name) == DRIVER:
                yield self._device(self._folder / name)

    def _device(self, folder: Path) -> Device:
        device = Device(folder.name)
        device.pci_address = os.path.basename(os.path.realpath(folder / "device"))
        device.pci_device = self._text(folder / "device" / "device") or ""
        device.firmware = self._text(folder / "fw_ver") or ""
        device.numa_node = self._text(folder / "device" / "numa_node") or ""
        # Drivers that report nothing of the device itself (before the kernel's split of the two) have no such folder.
        device.counters, device.lifespan = self._counters(folder / "hw_counters", optional=True)
        for name in self._names(folder / "ports"):
            device.ports.append(self._port(folder / "ports" / name))
        return device

    def _port(self, folder: Path) -> Port:
        port = Port(folder.name)
        port.counters, port.lifespan = self._counters(folder / "hw_counters", optional=True)
        port.state = self._state(folder / "state")
        port.physical_state = self._state(folder / "phys_state")
        rate = self._text(folder / "rate")
        if rate is not None:
            found = _RATE.match(rate)
            if found:
                port.rate = float(found.group(1)) * 1e9 / 8
            else:
                self.unreadable["malformed"] += 1
        return port

    def _counters(self, folder: Path, *, optional: bool) -> tuple[dict[str, int], float | None]:
        """Return the counters of a folder, and its lifespan in seconds."""
        counters = {}
        for name in self._names(folder, optional=optional):
            text = self._text(folder / name)
            if text is None:
                continue
            if not (text.isascii() and text.isdecimal()):
                self.unreadable["malformed"] += 1
                continue
            counters[name] = int(text)
        milliseconds = counters.pop(LIFESPAN, None)
        return counters, None if milliseconds is None else milliseconds / 1000

    def _state(self, path: Path) -> int | None:
        text = self._text(path)
        if text is None:
            return None
        found = _STATE.match(text)
        if found is None:
            self.unreadable["malformed"] += 1
            return None
        return int(found.group(1))

    def _driver(self, folder: Path) -> str:
        """Return the name of a device's driver; empty where there is none."""
        try:
            return os.path.basename(os.readlink(folder / "device" / "driver"))
        except OSError as error:
            if error.errno not in _GONE:
                self._count(error)
            return ""

    def _names(self, folder: Path, *, optional: bool = False) -> list[str]:
        try:
            return sorted(os.listdir(folder), key=_natural)
        except OSError as error:
            if not (optional and error.errno == errno.ENOENT):
                self._count(error)
            return []

    def _text(self, path: Path) -> str | None:
        """Return the text of a file without space around it; None where it cannot be read."""
        try:
            with open(path, "rb", buffering=0) as file:
                content = file.read(_MAX_BYTES) or b""
        except OSError as error:
            self._count(error)
            return None
        return content.decode("ascii", errors="replace").strip()

    def _count(self, error: OSError) -> None:
        reason = "gone" if error.errno in _GONE else "denied" if error.errno in _DENIED else "failed"
        self.unreadable[reason] += 1


def _natural(name: str) -> tuple[str, int]:
    """Return a key that sorts rdmap9 before rdmap10."""
    digits = re.search(r"[0-9]+$", name)
    return (name[: digits.start()], int(digits.group())) if digits else (name, -1)
