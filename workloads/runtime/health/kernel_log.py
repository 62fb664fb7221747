"""The kernel log of the last minutes: Xid and SXid events, hardware errors of Neuron devices."""

from __future__ import annotations

import re

from .session import NotJudged, Session, Skipped
from .severity import Severity
from .xid import events

_SECONDS = 15
_STAMP = re.compile(r"^(?:<\d+>)?\[\s*(?P<seconds>\d+\.\d+)\]")
_NEURON = re.compile(r"NEURON_HW_ERR=(?P<error>\w+)(?P<rest>.*)")
_ACTION = re.compile(r"\baction=(?P<action>\w+)")
_DEVICE = re.compile(r"\bnd-id=(?P<device>\d+)")
# AWS Neuron's troubleshooting guide: a repairable error of HBM needs a reboot or a new load of the driver, the others a
# new instance. Names: EKS node monitoring agent, monitors/neuron/monitor.go.
_NEURON_ERRORS = {
    "SRAM_UNCORRECTABLE_ERROR": Severity.REPLACE,
    "NC_UNCORRECTABLE_ERROR": Severity.REPLACE,
    "HBM_UNCORRECTABLE_ERROR": Severity.REPLACE,
    "DMA_ERROR": Severity.REPLACE,
}


def check_kernel_log(session: Session) -> None:
    """Report each Xid, SXid and Neuron error of the last minutes once per device, with its number of lines."""
    lines = _lines(session)
    counts: dict[tuple[str, str, str, Severity], tuple[int, str]] = {}
    for event in events(lines):
        key = (event.check, event.code, event.where, event.severity)
        counts[key] = (counts.get(key, (0, ""))[0] + 1, event.text)
    for line in lines:
        found = _NEURON.search(line)
        if found:
            device = _DEVICE.search(found["rest"])
            severity = _neuron_severity(found["error"], found["rest"])
            key = ("neuron-kernel", found["error"], f"neuron{device['device'] if device else '?'}", severity)
            counts[key] = (counts.get(key, (0, ""))[0] + 1, found[0])
    minutes = session.options.log_minutes
    for (check, _, where, severity), (count, text) in counts.items():
        value = f"{text} ({count} lines)" if count > 1 else text
        session.found(check, where, value, f"none in {minutes} minutes", severity)


def _neuron_severity(error: str, rest: str) -> Severity:
    if error in _NEURON_ERRORS:
        return _NEURON_ERRORS[error]
    action = _ACTION.search(rest)
    # The line of the guide's example: action=TERMINATE_INSTANCE.
    if action and action["action"] == "TERMINATE_INSTANCE":
        return Severity.REPLACE
    return Severity.REBOOT if "REPAIRABLE" in error else Severity.ERROR


def _lines(session: Session) -> list[str]:
    """Return the lines of the last minutes, by journalctl or by dmesg.

    Raises:
        Skipped: neither program is here, as in a container, or neither may read the log.
    """
    minutes = session.options.log_minutes
    tried = []
    journal = session.find("journalctl")
    if journal:
        ran = session.run(
            [journal, "--dmesg", "--no-pager", "--output=short", f"--since=-{minutes}min"], _SECONDS
        )
        # journalctl without a journal ends with 0 and says so; in a container there is none. Of a user who may not read
        # the system's messages it says that too (systemd, src/shared/journal-util.c), and ends with 0.
        unseen = next((text for text in ("No journal files", "not seeing messages") if text in ran.error), "")
        if ran.code == 0 and not unseen:
            return ran.output.splitlines()
        if ran.timed_out:
            raise NotJudged(f"'{ran.command}' gave {ran.end}")
        tried.append(f"journalctl says '{unseen}'" if unseen else f"journalctl {ran.end}")
    dmesg = session.find("dmesg")
    if dmesg:
        ran = session.run([dmesg], _SECONDS)
        if ran.code == 0:
            return _recent(session, ran.output.splitlines(), minutes)
        if ran.timed_out:
            raise NotJudged(f"'{ran.command}' gave {ran.end}")
        tried.append(f"dmesg {ran.end}")
    raise Skipped(f"the kernel log cannot be read here ({'; '.join(tried) or 'no journalctl and no dmesg'})")


def _recent(session: Session, lines: list[str], minutes: int) -> list[str]:
    """Return the lines whose stamp, in seconds since boot, is of the last minutes; all where the uptime is unknown."""
    try:
        uptime = float(session.path("/proc/uptime").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return lines
    kept = []
    for line in lines:
        stamp = _STAMP.match(line)
        if stamp is None or float(stamp["seconds"]) >= uptime - 60 * minutes:
            kept.append(line)
    return kept
