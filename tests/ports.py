"""Free ports of this machine."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

from workloads.launchers import RENDEZVOUS_PORT

LOOPBACK = "127.0.0.1"
_FIRST = 15_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody listens on at the moment.

    They are below those that the kernel gives to outgoing connections: one of these could take a port before the
    program that it was chosen for listens. They are below those of Slurm's jobs, which take theirs by their number.
    """
    with ExitStack() as held:
        return [_hold(held) for _ in range(count)]


def _hold(held: ExitStack) -> int:
    """Bind a port until `held` ends."""
    outgoing = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 0
    ports = range(_FIRST, min(outgoing, RENDEZVOUS_PORT))
    while True:
        one = held.enter_context(socket.socket())
        try:
            # Port 0 is any port: where the kernel's range is unknown or leaves none below it.
            one.bind((LOOPBACK, random.choice(ports) if ports else 0))
        except OSError:
            continue
        return int(one.getsockname()[1])


def listening(port: int) -> bool:
    """Tell whether something listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
