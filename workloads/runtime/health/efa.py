"""Probes of EFA: devices of the PCI bus and of the driver, links, libfabric's provider, data through each domain."""

from __future__ import annotations

import re
import time

from . import programs
from .devices import efa_devices, usable_efa_devices
from .session import NotJudged, Session, Skipped

_SECONDS = 20
_FOLDER = "/opt/amazon/efa/bin"
_PCI = re.compile(r"^(?P<address>\S+) \S+: 1d0f:efa[0-9a-f]\b")
"""A device of `lspci -n`: Amazon's vendor id, and the ids of EFA (Linux, drivers/infiniband/hw/efa/efa_main.c)."""

_ACTIVE = ("4: ACTIVE", "5: ACTIVE_DEFER")
"""States of a port that passes data, as the alert EfaPortDown has them (Linux, drivers/infiniband/core/sysfs.c)."""

_DOMAIN = re.compile(r"^\s*domain: (?P<domain>\S+)$", re.MULTILINE)
_SERVER_SECONDS = 2.0
_PINGPONG_SECONDS = 30


def _expected(session: Session) -> int | None:
    """Return the number of EFA interfaces that the node must have; None where the type is unknown.

    Raises:
        Skipped: it has none.
    """
    count = session.options.efa
    if count is None and session.expected is not None:
        count = session.expected.efa
    if count == 0:
        raise Skipped("no EFA interface is expected")
    return count


def check_efa(session: Session) -> None:
    """Count EFA devices on the PCI bus, in the driver and in libfabric, and read the state of each port."""
    expected = _expected(session)
    devices = efa_devices(session.root)
    lspci = session.find("lspci")
    if lspci is not None:
        ran = session.run([lspci, "-n"], _SECONDS)
        if ran.code != 0:
            raise NotJudged(f"'{ran.command}' {ran.end}")
        on_bus = sum(bool(_PCI.match(line)) for line in ran.output.splitlines())
        if expected is not None and on_bus < expected:
            session.found("efa-pci", "PCI bus", on_bus, expected)
        if len(devices) < on_bus:
            session.found("efa-driver", "/sys/class/infiniband", len(devices), on_bus)
    elif expected is not None and len(devices) < expected:
        session.found("efa-pci", "/sys/class/infiniband", len(devices), expected)
    for device in devices:
        _check_ports(session, device)
    if devices:
        _check_provider(session, len(devices))


def _check_ports(session: Session, device: str) -> None:
    folder = session.path(f"/sys/class/infiniband/{device}/ports")
    ports = sorted(folder.iterdir()) if folder.is_dir() else []
    if not ports:
        raise NotJudged(f"the EFA device '{device}' has no port in /sys/class/infiniband")
    for port in ports:
        state = (port / "state").read_text(encoding="ascii").strip()
        if state not in _ACTIVE:
            session.found("efa-link", f"{device} port {port.name}", state, _ACTIVE[0])


def _check_provider(session: Session, devices: int) -> None:
    program = session.find("fi_info", _FOLDER)
    if program is None and not session.options.libfabric:
        return
    if program is None:
        raise NotJudged("fi_info is absent, and the node has EFA devices; the EFA installer brings it")
    # A container that was given some of the node's devices opens those alone.
    usable = len(usable_efa_devices(session.root)) or devices
    ran = session.run([program, "-p", "efa", "-t", "FI_EP_RDM"], _SECONDS)
    if ran.timed_out:
        raise NotJudged(f"'{ran.command}' gave {ran.end}")
    domains = set(_DOMAIN.findall(ran.output)) if ran.code == 0 else set()
    if len(domains) < usable:
        value = f"{len(domains)} domains" + (f" ({ran.end})" if ran.code else "")
        session.found("efa-provider", "libfabric", value, f"{usable}")


def check_loopback(session: Session) -> None:
    """Send data through each EFA domain of the node to itself, one after the other."""
    _expected(session)
    info, pingpong = session.find("fi_info", _FOLDER), session.find("fi_pingpong", _FOLDER)
    if info is None or pingpong is None:
        raise Skipped("fi_info or fi_pingpong is absent; the EFA installer brings both")
    ran = session.run([info, "-p", "efa", "-t", "FI_EP_RDM"], _SECONDS)
    domains = sorted(set(_DOMAIN.findall(ran.output)))
    if ran.code != 0 or not domains:
        raise NotJudged(f"'{ran.command}' {ran.end}" if ran.code != 0 else f"'{ran.command}' lists no domain")
    for domain in domains:
        words = [pingpong, "-p", "efa", "-e", "rdm", "-d", domain, "-c"]
        # Else two processes of one node talk through shared memory, and no EFA is tested.
        variables = {"FI_EFA_ENABLE_SHM_TRANSFER": "0"}
        server = programs.start(words, {**session.environment, **variables})
        try:
            time.sleep(
                min(
                    _SERVER_SECONDS,
                    float(session.environment.get("TRAINFORGE_HEALTH_PAUSE", str(_SERVER_SECONDS))),
                )
            )
            ran = session.run([*words, "127.0.0.1"], _PINGPONG_SECONDS, **variables)
        finally:
            programs.end(server)
        if ran.code != 0:
            session.found("efa-loopback", domain, ran.end, "data comes back")
