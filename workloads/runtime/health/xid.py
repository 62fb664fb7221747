"""NVIDIA's Xid and SXid events: the severity of each code, and the reader of kernel log lines that have them.

Codes, descriptions and resolution buckets: NVIDIA, "Analyzing Xid Errors with the Xid Catalog" (immediate actions for
Ampere and later), read 2026-11-28. Codes that the catalog lists as unused, and those for which it states no action,
are not here: they are errors, which a person judges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .severity import Severity

BUCKETS = {
    "IGNORE": Severity.MONITOR,
    "RESTART_APP": Severity.MONITOR,
    "WORKFLOW_XID_45": Severity.MONITOR,
    "RESET_GPU": Severity.RESET,
    "WORKFLOW_XID_48": Severity.RESET,
    "WORKFLOW_NVLINK_ERR": Severity.RESET,
    "CHECK_UVM": Severity.RESET,
    "RESTART_BM": Severity.REBOOT,
    "RESTART_VM": Severity.REBOOT,
    "CHECK_MECHANICALS": Severity.ISOLATE,
    "UPDATE_SWFW": Severity.ISOLATE,
    "CONTACT_SUPPORT": Severity.ISOLATE,
}
"""NVIDIA's actions, and the severity that stands for each here."""

_CODES = """\
8 RESTART_APP GPU stopped processing
11 RESTART_APP invalid or corrupted push buffer stream
13 RESTART_APP graphics engine exception
14 IGNORE injected error
25 RESTART_APP invalid or illegal push buffer stream
31 RESTART_APP GPU memory page fault
32 RESTART_APP invalid or corrupted push buffer stream
37 IGNORE driver firmware error
38 IGNORE driver firmware error
39 RESTART_APP copy engine exception
40 RESTART_APP copy engine exception
41 RESTART_APP copy engine exception
43 IGNORE GPU stopped processing
44 IGNORE graphics engine fault during context switch
45 WORKFLOW_XID_45 preemptive cleanup after other errors
46 RESET_GPU GPU stopped processing
48 WORKFLOW_XID_48 double bit ECC error
54 CHECK_MECHANICALS auxiliary power is not connected
60 RESTART_APP video processor exception
62 RESET_GPU internal micro-controller halt
63 IGNORE GPU memory remapping event
64 RESET_GPU GPU memory remapping failure
66 IGNORE illegal access by driver
67 IGNORE illegal access by driver
68 RESTART_APP NVDEC0 exception
69 RESTART_APP graphics engine class error
70 RESTART_APP CE3 unknown error
71 RESTART_APP CE4 unknown error
72 RESTART_APP CE5 unknown error
74 WORKFLOW_NVLINK_ERR NVLink error
75 RESTART_APP CE6 unknown error
76 RESTART_APP CE7 unknown error
77 RESTART_APP CE8 unknown error
78 UPDATE_SWFW vGPU start error
79 RESTART_BM GPU has fallen off the bus
80 RESTART_APP corrupted data sent to GPU
82 RESTART_APP NVJPG0 error
83 RESTART_APP NVDEC1 error
84 RESTART_APP NVDEC2 error
85 RESTART_APP CE9 unknown error
86 RESTART_APP OFA exception
88 RESTART_APP NVDEC3 error
89 RESTART_APP NVDEC4 error
92 IGNORE high single-bit ECC error rate
93 IGNORE InfoROM wear limit
94 RESTART_APP contained memory error
95 RESET_GPU uncontained memory error
96 RESTART_APP NVDEC5 error
97 RESTART_APP NVDEC6 error
98 RESTART_APP NVDEC7 error
99 RESTART_APP NVJPG1 error
100 RESTART_APP NVJPG2 error
101 RESTART_APP NVJPG3 error
102 RESTART_APP NVJPG4 error
103 RESTART_APP NVJPG5 error
104 RESTART_APP NVJPG6 error
105 RESTART_APP NVJPG7 error
106 IGNORE SMBPBI test message
107 IGNORE SMBPBI test message, silent
109 RESET_GPU context switch timeout
110 RESET_GPU security fault
119 RESET_GPU GSP RPC timeout
120 RESET_GPU GSP error
121 IGNORE C2C error
126 RESTART_APP CE10 unknown error
127 RESTART_APP CE11 unknown error
128 RESTART_APP CE12 unknown error
129 RESTART_APP CE13 unknown error
130 RESTART_APP CE14 unknown error
131 RESTART_APP CE15 unknown error
132 RESTART_APP CE16 unknown error
133 RESTART_APP CE17 unknown error
134 RESTART_APP CE18 unknown error
135 RESTART_APP CE19 unknown error
136 RESET_GPU link training failed
137 IGNORE NVLink privilege error
139 RESTART_APP OFA1 error
140 RESET_GPU unrecovered ECC error
141 IGNORE CUDA fast path error
142 CONTACT_SUPPORT NVENC3 error
143 RESET_GPU GPU initialization error
151 RESTART_VM key rotation error
155 RESET_GPU NVLink software defined error
156 RESET_GPU resource retirement event
157 IGNORE resource retirement failure
158 RESET_GPU GPU fatal timeout
159 CHECK_UVM CHI non-data error
160 IGNORE channel retirement event
161 IGNORE channel retirement failure
"""

XIDS = {
    int(code): (bucket, text) for code, bucket, text in (line.split(" ", 2) for line in _CODES.splitlines())
}
"""NVIDIA's action and description by code. 144 to 150 and 154 are judged by the words of their message."""

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
            yield _switch_event(found["code"], found["where"], found["text"])
            continue
        found = _XID.search(line)
        if found:
            yield _gpu_event(int(found["code"]), found["where"], found["text"])
        else:
            check = "sxid" if "SXid" in line else "xid"
            yield Event(check, "?", "kernel log", Severity.ERROR, f"not understood: {line.strip()}")


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
    if code in XIDS:
        bucket, words = XIDS[code]
        return BUCKETS[bucket], f"{words}; NVIDIA: {bucket}"
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
