"""Probes of Neuron devices: neuron-ls against the catalog, and the counters of uncorrectable memory errors.

The driver moved some files of /sys between releases (Neuron Sysfs User Guide, driver 2.31), so counters are looked for
by their names: AWS Neuron driver, neuron_sysfs_metrics.c, the table of ECC attributes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .session import NotJudged, Reported, Session, Skipped
from .severity import Severity

_SECONDS = 30
_FOLDER = "/opt/aws/neuron/bin"
_DEVICES = "/sys/devices/virtual/neuron_device"
_COUNTERS = {
    "sram_ecc_uncorrected": Severity.REPLACE,
    "mem_ecc_uncorrected": Severity.REPLACE,
    "mem_ecc_repairable_uncorrected": Severity.REBOOT,
}
# From Neuron 2.34 on '--output-format json' takes the place of '--json-output' (announcement of 2026-10-16).
_FORMS = (("--json-output",), ("--output-format", "json"))
_MIN_MEMORY = 0.9


def check_neuron(session: Session) -> None:
    """Compare devices, memory and cores with the type's, and report uncorrectable errors of memory."""
    expected = session.expected
    if expected is None:
        raise Skipped("the type is unknown")
    if expected.accelerator != "neuron":
        raise Skipped(f"'{expected.instance_type}' has no Neuron device")
    program = session.find("neuron-ls", _FOLDER)
    if program is None:
        raise NotJudged("neuron-ls is absent; the package aws-neuronx-tools brings it")
    devices = _devices(session, program)
    if len(devices) != expected.count:
        session.found("neuron-count", "node", f"{len(devices)} devices", expected.count)
    for device in devices:
        where = f"neuron{device.get('neuron_device', '?')}"
        memory, cores = device.get("memory_size"), device.get("nc_count")
        if not isinstance(memory, int) or not isinstance(cores, int):
            raise NotJudged(f"neuron-ls says {json.dumps(device)[:200]}")
        least = expected.memory_mib * _MIN_MEMORY
        if memory / 2**20 < least:
            session.found("neuron-count", where, f"{memory >> 20} MiB", f"at least {least:.0f} MiB")
        # neuron-ls counts logical cores, two physical ones each by default on Trainium2 (AWS Neuron, "Neuron LS User
        # Guide": nc_count 4 and logical_neuroncore_config 2 of a device with 8 cores).
        physical = cores * int(device.get("logical_neuroncore_config", 1))
        if expected.cores is not None and physical != expected.cores:
            session.found("neuron-count", where, f"{physical} cores", f"{expected.cores} cores")
    _check_counters(session)


def _devices(session: Session, program: str) -> list[dict[str, Any]]:
    for form in _FORMS:
        ran = session.run([program, *form], _SECONDS)
        if ran.timed_out:
            session.found("neuron-answers", "neuron-ls", ran.end, f"an answer within {_SECONDS} s")
            raise Reported
        try:
            found = _listed(json.loads(ran.output)) if ran.code == 0 else []
        except ValueError:
            found = []
        if found:
            return found
    if "failed to discover" in ran.error or "failed to discover" in ran.output or ran.code != 0:
        session.found("neuron-answers", "neuron-ls", ran.end, "a list of devices")
        raise Reported
    raise NotJudged(f"'{ran.command}' lists no device in a known form: {ran.output[:200]}")


def _listed(answer: Any) -> list[dict[str, Any]]:
    """Return the devices of an answer, which are objects with `neuron_device`, at any depth."""
    if isinstance(answer, dict):
        if "neuron_device" in answer:
            return [answer]
        answer = list(answer.values())
    if isinstance(answer, list):
        return [device for part in answer for device in _listed(part)]
    return []


def _check_counters(session: Session) -> None:
    root = session.path(_DEVICES)
    files = {path for name in _COUNTERS for path in root.rglob(name)} if root.is_dir() else set()
    if not files:
        raise NotJudged(f"no counter of memory errors is below {_DEVICES}; the driver is older or not loaded")
    for path in sorted(files):
        try:
            count = int(path.read_text(encoding="ascii").split()[0])
        except (OSError, ValueError, IndexError):
            raise NotJudged(f"'{path}' has no number") from None
        if count:
            where = f"{_device(path, root)} {path.name}"
            session.found("neuron-ecc", where, count, 0, _COUNTERS[path.name])


def _device(path: Path, root: Path) -> str:
    return path.relative_to(root).parts[0]
