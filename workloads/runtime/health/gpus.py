"""Probes of GPUs by nvidia-smi: count and memory size, memory errors, clocks, the PCIe link."""

from __future__ import annotations

import re
import time

from .nvidia_smi import ask, number, query, yes
from .session import NotJudged, Session
from .severity import Severity

_MIN_MEMORY = 0.9
"""Part of the catalog's memory that a GPU must show: our choice. ECC and the driver take up to 6 % (T4: 15360 MiB)."""

_SAMPLES = 3
_SAMPLE_SECONDS = 1.0
_SECTION = re.compile(r"^GPU (?P<where>[0-9A-Fa-f:.]+)\s*$")
_THRESHOLD = re.compile(r"^\s+SRAM Threshold Exceeded\s*: (?P<answer>.+)$")


def check_inventory(session: Session) -> None:
    """Compare the number of GPUs, and the memory of each, with the type's."""
    rows = query(session, ("index", "uuid", "name", "memory.total"))
    expected = session.expected
    if expected is None:
        return
    if len(rows) != expected.count:
        names = ", ".join(row["index"] for row in rows) or "none"
        session.found("gpu-count", "node", f"{len(rows)} ({names})", f"{expected.count} of {expected.name}")
    for row in rows:
        where = f"GPU {row['index']}"
        memory = number(row["memory.total"], "memory.total")
        least = int(expected.memory_mib * _MIN_MEMORY)
        if memory is None:
            raise NotJudged(f"nvidia-smi states no memory of {where} ({row['name']})")
        if memory < least:
            session.found("gpu-memory-size", where, f"{memory} MiB of {row['name']}", f"at least {least} MiB")


def check_memory_errors(session: Session) -> None:
    """Report ECC errors, rows that wait for replacement or could not be replaced, and pages that wait."""
    columns = (
        "index",
        "ecc.mode.current",
        "ecc.errors.uncorrected.volatile.total",
        "ecc.errors.uncorrected.aggregate.total",
        "retired_pages.pending",
    )
    for row in query(session, columns):
        where = f"GPU {row['index']}"
        if yes(row["ecc.mode.current"], "ecc.mode.current") is False:
            session.found("ecc-mode", where, "off", "on")
        volatile = number(row["ecc.errors.uncorrected.volatile.total"], "ECC errors")
        if volatile:
            session.found("ecc-volatile", where, f"{volatile} uncorrected", 0)
        aggregate = number(row["ecc.errors.uncorrected.aggregate.total"], "ECC errors")
        if aggregate:
            session.found("ecc-aggregate", where, f"{aggregate} uncorrected", 0)
        if yes(row["retired_pages.pending"], "retired_pages.pending"):
            session.found("retired-pages-pending", where, "yes", "no")
    _check_rows(session)
    _check_sram(session)


def _check_rows(session: Session) -> None:
    columns = (
        "gpu_bus_id",
        "remapped_rows.uncorrectable",
        "remapped_rows.pending",
        "remapped_rows.failure",
    )
    for row in query(session, columns, table="remapped-rows"):
        where = f"GPU {row['gpu_bus_id']}"
        if yes(row["remapped_rows.failure"], "remapped_rows.failure"):
            session.found("row-remap-failure", where, "yes", "no")
        if yes(row["remapped_rows.pending"], "remapped_rows.pending"):
            session.found("row-remap-pending", where, "yes", "no")
        rows = number(row["remapped_rows.uncorrectable"], "remapped_rows.uncorrectable")
        if rows:
            session.found("row-remap-uncorrectable", where, f"{rows} rows", 0)


def _check_sram(session: Session) -> None:
    """Read the flag of SRAM errors, which drivers from R550 on print under 'Aggregate' and no query has."""
    where = "GPU"
    for line in ask(session, "-q", "-d", "ECC").output.splitlines():
        section, flag = _SECTION.match(line), _THRESHOLD.match(line)
        if section:
            where = f"GPU {section['where']}"
        elif flag and yes(flag["answer"].strip(), "SRAM Threshold Exceeded"):
            session.found("ecc-sram-threshold", where, "yes", "no")


_HARDWARE = ("hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown")
_SOFTWARE = ("sw_thermal_slowdown",)


def check_clocks(session: Session) -> None:
    """Report GPUs that lower their clocks: what the hardware does in each of three samples isolates the node.

    The software's power cap is left out: it acts under any full load.
    """
    names = [f"clocks_event_reasons.{name}" for name in (*_HARDWARE, *_SOFTWARE)]
    columns = ("index", "temperature.gpu", *names)
    seen: dict[tuple[str, str], list[str]] = {}
    for sample in range(_SAMPLES):
        if sample:
            time.sleep(_SAMPLE_SECONDS)
        for row in query(session, columns):
            for name in (*_HARDWARE, *_SOFTWARE):
                if yes(row[f"clocks_event_reasons.{name}"], name):
                    seen.setdefault((row["index"], name), []).append(row["temperature.gpu"])
        if not seen:
            return
    for (index, name), temperatures in seen.items():
        lasting = len(temperatures) == _SAMPLES and name in _HARDWARE
        session.found(
            "throttle",
            f"GPU {index}",
            f"{name} in {len(temperatures)} of {_SAMPLES} samples, at {temperatures[-1]} degrees Celsius",
            "not active",
            Severity.ISOLATE if lasting else Severity.MONITOR,
        )


def check_pcie(session: Session) -> None:
    """Compare the width and the generation of each GPU's PCIe link with the most that the GPU can.

    A link that is narrower than another one of the node is broken. Where all are alike, the host may have no more
    lanes: G6 connects 8 of an L4's 16 (aws/aws-parallelcluster-cookbook, pull request 2803).
    """
    columns = (
        "index",
        "pcie.link.width.current",
        "pcie.link.width.max",
        "pcie.link.gen.current",
        "pcie.link.gen.max",
    )
    rows = query(session, columns)
    widths = [number(row["pcie.link.width.current"], "PCIe width") for row in rows]
    widest = max((width for width in widths if width is not None), default=0)
    for row, width in zip(rows, widths):  # noqa: B905 -- Python 3.9
        where = f"GPU {row['index']}"
        most = number(row["pcie.link.width.max"], "PCIe width")
        if width is not None and most is not None and width < most:
            severity = Severity.REBOOT if width < widest else Severity.MONITOR
            session.found("pcie-width", where, f"x{width}", f"x{most}", severity)
        speed, fastest = (number(row[f"pcie.link.gen.{end}"], "PCIe speed") for end in ("current", "max"))
        if speed is not None and fastest is not None and speed < fastest:
            session.found("pcie-speed", where, f"generation {speed}", f"generation {fastest}")
