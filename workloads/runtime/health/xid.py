"""NVIDIA's Xid and SXid events: the severity of each code, and the reader of kernel log lines that have them.

`xids.json` is generated from the catalog (workloads/health_data.py), whose alerts judge a code alike. A code that it
lacks is an error, which a person judges.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .severity import Severity, severity_of

_DATA = Path(__file__).with_name("xids.json")

_NVLINK5 = range(144, 151)
_RECOVERY = 154
_RECOVERIES = {
    "None": Severity.MONITOR,
    "Drain P2P": Severity.RESET,
    "Drain and Reset": Severity.RESET,
    "GPU Reset Required": Severity.RESET,
    "Node Reboot Required": Severity.REBOOT,
}
"""The recovery actions of Xid 154, as the catalog names them; that after 'to' counts."""

_XID = re.compile(r"NVRM: Xid \((?P<where>[^)]*)\): (?P<code>\d+),?\s*(?P<text>.*)")
_SXID = re.compile(r"SXid \((?P<where>[^)]*)\): (?P<code>\d+),?\s*(?P<text>.*)")
_SXID_DETAIL = re.compile(r"Severity \d+ Engine instance|Data \{")
"""Lines that the driver prints after an SXid, with the same head (NVIDIA/open-gpu-kernel-modules, error_nvswitch.c)."""

_BROKEN = re.compile(r"\bS?Xid \(")
_CHANGED = re.compile(r"\bto 0x[0-9a-fA-F]+ \((?P<action>[^)]*)\)")


@dataclass(frozen=True)
class Event:
    """An event of the kernel log: the check (xid or sxid), its code, the device, the severity, and words for people."""

    check: str
    code: str
    where: str
    severity: Severity
    text: str


def events(lines: list[str]) -> Iterator[Event]:
    """Yield the events of kernel log lines; a line that has one in an unknown form is an error."""
    for line in lines:
        if not _BROKEN.search(line):
            continue
        found = _SXID.search(line)
        if found:
            if not _SXID_DETAIL.match(found["text"]):
                yield _switch_event(found["code"], found["where"], found["text"])
            continue
        found = _XID.search(line)
        if found:
            yield _gpu_event(int(found["code"]), found["where"], found["text"])
        else:
            check = "sxid" if "SXid" in line else "xid"
            yield Event(check, "?", "kernel log", Severity.ERROR, f"not understood: {line.strip()}")


@cache
def _xids() -> dict[str, dict[str, str]]:
    """Return NVIDIA's action, its severity and NVIDIA's description by code; not 144 to 150 and 154."""
    found: dict[str, dict[str, str]] = json.loads(_DATA.read_text(encoding="utf-8"))["codes"]
    return found


def _gpu_event(code: int, where: str, text: str) -> Event:
    severity, words = _judge(code, text)
    return Event("xid", str(code), where, severity, f"Xid {code} ({words}): {text}".rstrip(": "))


def _judge(code: int, text: str) -> tuple[Severity, str]:
    if code in _NVLINK5:
        # <unit> <Fatal or Nonfatal> ...: the catalog's table of 144-150 has the same two by its bits.
        word = text.lower()
        if "nonfatal" in word or "non-fatal" in word:
            return Severity.MONITOR, "NVLink 5, not fatal"
        return (Severity.RESET, "NVLink 5, fatal") if "fatal" in word else (Severity.ERROR, "NVLink 5")
    if code == _RECOVERY:
        changed = _CHANGED.search(text)
        action = changed["action"] if changed else ""
        return _RECOVERIES.get(action, Severity.ERROR), "recovery action"
    xid = _xids().get(str(code))
    if xid:
        return severity_of(xid["severity"]), f"{xid['text']}; NVIDIA: {xid['action']}"
    return Severity.ERROR, "no action is known for this code"


def _switch_event(code: str, where: str, text: str) -> Event:
    word = text.lower()
    if word.startswith(("non-fatal", "nonfatal")):
        severity = Severity.MONITOR
    elif word.startswith("fatal"):
        severity = Severity.RESET
    else:
        severity = Severity.ERROR
    return Event("sxid", code, where, severity, f"SXid {code}: {text}")
