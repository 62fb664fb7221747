"""NVIDIA's Xid codes: the action that NVIDIA asks for, and its severity in the health checks and the alerts.

data/xids.json has the codes with their source. The health checks get them by the data that `workloads/health_data.py`
writes, and the alerts read them here, so that both judge a code alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from catalog.records import read


@dataclass(frozen=True, slots=True)
class Xid:
    """A code: NVIDIA's action (a resolution bucket such as RESET_GPU), its severity here, and NVIDIA's description.

    The severity is a word of the health checks: monitor (nothing is to be done to the node), reset, reboot, isolate.
    """

    code: int
    action: str
    severity: str
    text: str


@cache
def xids() -> Mapping[int, Xid]:
    """Return all codes for which NVIDIA states an action, by code.

    Raises:
        KeyError: an action has no severity.
    """
    data = read("xids.json")
    return MappingProxyType(
        {
            int(code): Xid(int(code), action, data["severities"][action], text)
            for code, (action, text) in data["codes"].items()
        }
    )


def without_repair() -> tuple[int, ...]:
    """Return the codes after which the node needs no repair."""
    return tuple(code for code, xid in xids().items() if xid.severity == "monitor")
