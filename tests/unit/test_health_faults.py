"""Faults of nodes against severities and actions: programs and files answer in recorded forms, broken one at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from health.checks import CHECKS
from health.report import Report, examine, level_of
from health.session import Options
from health.severity import ACTIONS, Severity
from health.suites import probe_names

from tests.unit.health_node import CPU, GPU, NEURON, HealthNode, dcgm, gpu_result

Break = Callable[[HealthNode], object]


def judged(node: HealthNode, probe: str, suite: str = "deep", **options: object) -> Report:
    """Run one probe of a suite on a made-up node, in this process."""
    node._write_programs()
    return examine(
        suite,
        level_of(suite, Options(**options), None),  # type: ignore[arg-type]
        skip=frozenset(probe_names()) - {probe},
        root=node.root,
        environment=node.environment,
        metadata="",
    )


def gpu(index: int, **columns: str) -> Break:
    """Change what nvidia-smi says of a GPU; a column's dots are written as two underscores."""
    changed = {name.replace("__", "."): value for name, value in columns.items()}
    return lambda node: node.gpus[index].update(changed)


def log(*lines: str) -> Break:
    return lambda node: node.xids.extend(lines)


def xid(code: int, text: str = "pid=1, name=python") -> Break:
    return log(f"Nov 28 17:00:01 ip-10-0-0-7 kernel: NVRM: Xid (PCI:0000:53:00): {code}, {text}")


def sxid(code: int, text: str) -> Break:
    return log(f"Nov 28 17:00:01 host kernel: nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): {code}, {text}")


def mig_xid(code: int) -> Break:
    """An Xid of a GPU instance, as kernel_rc.c of NVIDIA's open kernel modules prints it."""
    return log(
        f"kernel: NVRM: Xid (PCI:0000:53:00 GPU-I:05 GPU-CI:02): {code}, pid=7194, name=python, Contained"
    )


def neuron_error(error: str, action: str) -> Break:
    return log(
        f"kernel: NEURON_HW_ERR={error} instance-id=i-0 hostname=h nd-id=3 nc-id=0 serial-num=1 action={action}"
    )


def diagnosed(*tests: dict[str, object]) -> Break:
    return lambda node: node.answer("dcgmi", "diag", dcgm(*tests))


def failing(severity: int | None, status: str = "Fail") -> Break:
    return diagnosed({"name": "Memory", "results": [gpu_result(2, status, severity, "a message")]})


def counter(name: str) -> Break:
    return lambda node: node.counter(3, name, 2)


def reduced(summary: str, code: int = 0) -> Break:
    return lambda node: node.answer("all_reduce_perf", "-b", summary, code)


def lost_mount(node: HealthNode) -> None:
    node.mount("fs@tcp:/fsx /lost lustre rw 0 0")
    (node.root / "lost").unlink()


# The names that drivers print for GPUs with NVLink 5; codewords that FEC corrected are no errors.
NVLINK5 = """\
GPU 0: NVIDIA B200 (UUID: G)
  Link 0: Malformed packet Errors: 0
  Link 0: Rx remote Errors: 0
  Link 0: Tx discards: 0
  Link 0: Link recovery failed events: 2
  Link 0: Total link recovery events: 2
  Link 0: Effective BER: 15e-255
  Link 0: Symbol Errors: 0
  Link 0: FEC Errors - 0: 36140749276
"""
WRONG_REDUCE = "# Out of bounds values : 12 FAILED\n# Avg bus bandwidth    : 480.1\n"

# The probe, the fault, and what is reported: the check and its severity, the worst first.
FAULTS: dict[str, tuple[str, str, Break, str, Severity]] = {
    # GPUs
    "a GPU is missing": (GPU, "gpu-inventory", lambda n: n.gpus.pop(), "gpu-count", Severity.REPLACE),
    "half the memory": (
        GPU,
        "gpu-inventory",
        gpu(5, memory__total="40960"),
        "gpu-memory-size",
        Severity.ISOLATE,
    ),
    "no memory stated": (GPU, "gpu-inventory", gpu(5, memory__total="[N/A]"), "probe", Severity.ERROR),
    "unknown answer": (
        GPU,
        "gpu-inventory",
        gpu(5, memory__total="[Unknown Error]"),
        "probe",
        Severity.ERROR,
    ),
    "nvidia-smi fails": (
        GPU,
        "gpu-inventory",
        lambda n: n.answer(
            "nvidia-smi", "--query-gpu=index,uuid", "Unable to determine the device handle", 255
        ),
        "probe",
        Severity.ERROR,
    ),
    "no nvidia-smi": (GPU, "gpu-inventory", lambda n: n.gpus.clear(), "probe", Severity.ERROR),
    # Memory errors
    "ECC off": (GPU, "gpu-memory", gpu(1, ecc__mode__current="Disabled"), "ecc-mode", Severity.MONITOR),
    "uncorrected since the driver's start": (
        GPU,
        "gpu-memory",
        gpu(1, ecc__errors__uncorrected__volatile__total="2"),
        "ecc-volatile",
        Severity.RESET,
    ),
    "uncorrected in the past": (
        GPU,
        "gpu-memory",
        gpu(1, ecc__errors__uncorrected__aggregate__total="2"),
        "ecc-aggregate",
        Severity.MONITOR,
    ),
    "GPU that needs a reset": (
        GPU,
        "gpu-memory",
        gpu(1, ecc__errors__uncorrected__volatile__total="[GPU requires reset]"),
        "probe",
        Severity.ERROR,
    ),
    "row waits": (GPU, "gpu-memory", gpu(1, rows__pending="Yes"), "row-remap-pending", Severity.RESET),
    "row waits, as a number": (
        GPU,
        "gpu-memory",
        gpu(1, rows__pending="1"),
        "row-remap-pending",
        Severity.RESET,
    ),
    "row failed": (GPU, "gpu-memory", gpu(1, rows__failure="Yes"), "row-remap-failure", Severity.REPLACE),
    "row replaced": (
        GPU,
        "gpu-memory",
        gpu(1, rows__uncorrectable="1"),
        "row-remap-uncorrectable",
        Severity.MONITOR,
    ),
    "page waits": (
        GPU,
        "gpu-memory",
        gpu(1, retired_pages__pending="Yes"),
        "retired-pages-pending",
        Severity.RESET,
    ),
    "SRAM threshold": (GPU, "gpu-memory", lambda n: n.sram.add(4), "ecc-sram-threshold", Severity.REPLACE),
    # Kernel log
    "Xid 31": (GPU, "kernel-log", xid(31), "xid", Severity.MONITOR),
    "Xid 48": (GPU, "kernel-log", xid(48), "xid", Severity.RESET),
    "Xid 63": (GPU, "kernel-log", xid(63), "xid", Severity.MONITOR),
    "Xid 64": (GPU, "kernel-log", xid(64), "xid", Severity.RESET),
    "Xid 74": (GPU, "kernel-log", xid(74), "xid", Severity.RESET),
    "Xid 79": (GPU, "kernel-log", xid(79, "GPU has fallen off the bus."), "xid", Severity.REBOOT),
    "Xid 94": (GPU, "kernel-log", xid(94), "xid", Severity.MONITOR),
    "Xid 95": (GPU, "kernel-log", xid(95), "xid", Severity.RESET),
    "Xid 119": (GPU, "kernel-log", xid(119), "xid", Severity.RESET),
    "Xid 142": (GPU, "kernel-log", xid(142), "xid", Severity.ISOLATE),
    "Xid 145, not fatal": (
        GPU,
        "kernel-log",
        xid(145, "RLW_REMAP Nonfatal XC1 i0 Link 02 (0x00000004 0x1)"),
        "xid",
        Severity.MONITOR,
    ),
    "Xid 149, fatal": (GPU, "kernel-log", xid(149, "NETIR_LINK_DOWN Fatal XC0"), "xid", Severity.RESET),
    "Xid 149 without a word": (GPU, "kernel-log", xid(149, "NETIR_LINK_DOWN XC0"), "xid", Severity.ERROR),
    "Xid 154, reboot": (
        GPU,
        "kernel-log",
        xid(154, "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)"),
        "xid",
        Severity.REBOOT,
    ),
    "Xid 154, reset": (
        GPU,
        "kernel-log",
        xid(154, "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"),
        "xid",
        Severity.RESET,
    ),
    "Xid 154, unknown": (
        GPU,
        "kernel-log",
        xid(154, "GPU recovery action changed from 0x0 (None) to 0x9 (Something New)"),
        "xid",
        Severity.ERROR,
    ),
    "Xid that NVIDIA does not list": (GPU, "kernel-log", xid(999), "xid", Severity.ERROR),
    "Xid without an action": (GPU, "kernel-log", xid(167), "xid", Severity.ERROR),
    "Xid in a new form": (GPU, "kernel-log", log("kernel: NVRM: Xid (weird"), "xid", Severity.ERROR),
    "SXid, not fatal": (GPU, "kernel-log", sxid(20009, "Non-fatal, Link 28"), "sxid", Severity.MONITOR),
    "SXid, fatal": (GPU, "kernel-log", sxid(23001, "Fatal, Link 12"), "sxid", Severity.RESET),
    "SXid with the driver's details, not fatal": (
        GPU,
        "kernel-log",
        lambda n: [
            sxid(28006, text)(n)
            for text in (
                "Non-fatal, Link 46 MC TS crumbstore MCTO (First)",
                "Severity 0 Engine instance 46 Sub-engine instance 00",
                "Data {0x00140004, 0x00100000, 0x00000000, 0x00000000}",
            )
        ],
        "sxid",
        Severity.MONITOR,
    ),
    "Xid of a MIG instance": (GPU, "kernel-log", mig_xid(94), "xid", Severity.MONITOR),
    "uncontained Xid with MIG": (GPU, "kernel-log", mig_xid(95), "xid", Severity.RESET),
    "SXid without a word": (GPU, "kernel-log", sxid(23001, "Link 12"), "sxid", Severity.ERROR),
    "SRAM of a Neuron device": (
        NEURON,
        "kernel-log",
        neuron_error("SRAM_UNCORRECTABLE_ERROR", "TERMINATE_INSTANCE"),
        "neuron-kernel",
        Severity.REPLACE,
    ),
    "repairable HBM": (
        NEURON,
        "kernel-log",
        neuron_error("HBM_REPAIRABLE_UNCORRECTABLE_ERROR", "RELOAD_DRIVER"),
        "neuron-kernel",
        Severity.REBOOT,
    ),
    "Neuron error that nobody knows": (
        NEURON,
        "kernel-log",
        neuron_error("NEW_ERROR", "NONE"),
        "neuron-kernel",
        Severity.ERROR,
    ),
    "no journal answers": (
        GPU,
        "kernel-log",
        lambda n: n.answers.update({"journalctl": {"": (1, "no")}, "dmesg": {"": (0, LATE_XID)}}),
        "xid",
        Severity.REBOOT,
    ),
    # Links
    "fabric manager failed": (
        GPU,
        "fabric-manager",
        lambda n: n.answer("systemctl", "show", "LoadState=loaded\nActiveState=failed\n"),
        "fabric-manager",
        Severity.RESET,
    ),
    "no fabric manager": (
        GPU,
        "fabric-manager",
        lambda n: n.answer("systemctl", "show", "LoadState=not-found\nActiveState=inactive\n"),
        "fabric-manager",
        Severity.ERROR,
    ),
    "unknown state of a service": (
        GPU,
        "fabric-manager",
        lambda n: n.answer("systemctl", "show", "LoadState=masked\nActiveState=inactive\n"),
        "probe",
        Severity.ERROR,
    ),
    "narrow PCIe": (GPU, "pcie", gpu(3, width="8"), "pcie-width", Severity.REBOOT),
    "narrow PCIe of every GPU": (
        GPU,
        "pcie",
        lambda n: [row.update(width="8") for row in n.gpus],
        "pcie-width",
        Severity.MONITOR,
    ),
    "slow PCIe": (GPU, "pcie", gpu(3, gen="1"), "pcie-speed", Severity.MONITOR),
    "a pair over PCIe": (
        GPU,
        "nvlink",
        lambda n: n.pairs.update({(0, 3): "SYS"}),
        "nvlink-topology",
        Severity.ISOLATE,
    ),
    "a pair with fewer links": (
        GPU,
        "nvlink",
        lambda n: n.pairs.update({(0, 3): "NV17"}),
        "nvlink-topology",
        Severity.ISOLATE,
    ),
    "an unknown connection": (
        GPU,
        "nvlink",
        lambda n: n.pairs.update({(0, 3): "ABC"}),
        "probe",
        Severity.ERROR,
    ),
    "inactive link": (
        GPU,
        "nvlink",
        lambda n: n.links.update({(2, 7): "<inactive>"}),
        "nvlink-state",
        Severity.ISOLATE,
    ),
    "link in a new state": (
        GPU,
        "nvlink",
        lambda n: n.links.update({(2, 7): "sleeping"}),
        "probe",
        Severity.ERROR,
    ),
    "recovered links": (
        GPU,
        "nvlink",
        lambda n: n.answer("nvidia-smi", "-e", "GPU 0: H (UUID: G)\n\t Link 0: Recovery Errors: 3\n"),
        "nvlink-errors",
        Severity.MONITOR,
    ),
    "a link of NVLink 5 failed to recover": (
        GPU,
        "nvlink",
        lambda n: n.answer("nvidia-smi", "-e", NVLINK5),
        "nvlink-errors",
        Severity.MONITOR,
    ),
    "errors of NVLinks in a new form": (
        GPU,
        "nvlink",
        lambda n: n.answer("nvidia-smi", "-e", "GPU 0: H (UUID: G)\n\t Link 0: all is well\n"),
        "probe",
        Severity.ERROR,
    ),
    # Clocks
    "slow by hardware": (GPU, "clocks", gpu(6, hw_thermal_slowdown="Active"), "throttle", Severity.ISOLATE),
    "slow by software": (GPU, "clocks", gpu(6, sw_thermal_slowdown="Active"), "throttle", Severity.MONITOR),
    # EFA
    "EFA missing on the bus": (
        GPU,
        "efa",
        lambda n: setattr(n, "on_bus", 31),
        "efa-pci",
        Severity.ISOLATE,
    ),
    "EFA missing in the driver": (
        GPU,
        "efa",
        lambda n: setattr(n, "on_bus", n.on_bus + 1),
        "efa-driver",
        Severity.REBOOT,
    ),
    "EFA port down": (
        GPU,
        "efa",
        lambda n: n.write("sys/class/infiniband/rdmap3s0/ports/1/state", "1: DOWN\n"),
        "efa-link",
        Severity.REBOOT,
    ),
    "libfabric lacks a domain": (
        GPU,
        "efa",
        lambda n: setattr(n, "domains", 30),
        "efa-provider",
        Severity.ISOLATE,
    ),
    "libfabric has no provider": (
        GPU,
        "efa",
        lambda n: (setattr(n, "domains", 0), n.answer("fi_info", "-p", "fi_getinfo: -61", 61)),
        "efa-provider",
        Severity.ISOLATE,
    ),
    "no fi_info": (GPU, "efa", lambda n: setattr(n, "domains", 0), "probe", Severity.ERROR),
    "a domain loses data": (
        GPU,
        "efa-loopback",
        lambda n: n.answer("fi_pingpong", "", "fi_cq_readerr", 5),
        "efa-loopback",
        Severity.REBOOT,
    ),
    # DCGM
    "DCGM: monitor": (GPU, "dcgm", failing(1), "dcgm", Severity.MONITOR),
    "DCGM: isolate": (GPU, "dcgm", failing(2), "dcgm", Severity.ISOLATE),
    "DCGM: unknown severity": (GPU, "dcgm", failing(3), "dcgm", Severity.ERROR),
    "DCGM: triage": (GPU, "dcgm", failing(4), "dcgm", Severity.ISOLATE),
    "DCGM: configuration": (GPU, "dcgm", failing(5), "dcgm", Severity.ERROR),
    "DCGM: reset": (GPU, "dcgm", failing(6), "dcgm", Severity.RESET),
    "DCGM: a severity of the future": (GPU, "dcgm", failing(17), "dcgm", Severity.ERROR),
    "DCGM: failed without a severity": (GPU, "dcgm", failing(None), "dcgm", Severity.ISOLATE),
    "DCGM: warned without a severity": (GPU, "dcgm", failing(None, "Warn"), "dcgm", Severity.MONITOR),
    "DCGM: unknown status": (GPU, "dcgm", failing(None, "Perhaps"), "dcgm", Severity.ERROR),
    "DCGM: failed in the summary alone": (
        GPU,
        "dcgm",
        diagnosed({"name": "software", "test_summary": {"status": "Fail"}}),
        "dcgm",
        Severity.ISOLATE,
    ),
    "DCGM 3: text for a warning": (
        GPU,
        "dcgm",
        diagnosed(
            {"name": "PCIe", "results": [{"gpu_id": "1", "status": "Fail", "warnings": "low bandwidth"}]}
        ),
        "dcgm",
        Severity.ISOLATE,
    ),
    "DCGM 3: the answer's other name, and null for a test": (
        GPU,
        "dcgm",
        lambda n: n.answer(
            "dcgmi",
            "diag",
            dcgm(None, {"name": "Memory", "results": [gpu_result(2, "Fail", 6, "x")]}).replace(
                "DCGM Diagnostic", "DCGM GPU Diagnostic"
            ),
        ),
        "dcgm",
        Severity.RESET,
    ),
    "DCGM: no host engine": (
        GPU,
        "dcgm",
        lambda n: n.answer("dcgmi", "diag", json.dumps({"DCGM Diagnostic": {"runtime_error": "no"}})),
        "probe",
        Severity.ERROR,
    ),
    "DCGM: no test": (GPU, "dcgm", diagnosed(), "probe", Severity.ERROR),
    "DCGM: every test skipped": (GPU, "dcgm", failing(None, "Skip"), "probe", Severity.ERROR),
    "DCGM: no JSON": (
        GPU,
        "dcgm",
        lambda n: n.answer("dcgmi", "diag", "Error: unable to establish a connection", 1),
        "probe",
        Severity.ERROR,
    ),
    # NCCL
    "wrong sums": (GPU, "all-reduce", reduced(WRONG_REDUCE), "all-reduce", Severity.ISOLATE),
    "NCCL fails": (GPU, "all-reduce", reduced("Test NCCL failure", 3), "all-reduce", Severity.ISOLATE),
    "no summary": (GPU, "all-reduce", reduced("hello"), "probe", Severity.ERROR),
    # Neuron
    "a device is missing": (NEURON, "neuron", lambda n: n.neuron.pop(), "neuron-count", Severity.REPLACE),
    "a device lacks memory": (
        NEURON,
        "neuron",
        lambda n: n.neuron[0].update(memory_size=1 << 30),
        "neuron-count",
        Severity.REPLACE,
    ),
    "a device lacks a core": (
        NEURON,
        "neuron",
        lambda n: n.neuron[0].update(nc_count=1),
        "neuron-count",
        Severity.REPLACE,
    ),
    "no driver": (
        NEURON,
        "neuron",
        lambda n: n.answer("neuron-ls", "-", 'level=fatal msg="failed to discover Neuron devices"', 1),
        "neuron-answers",
        Severity.REBOOT,
    ),
    "neuron-ls in a new form": (
        NEURON,
        "neuron",
        lambda n: n.answer("neuron-ls", "-", '{"devices": [1, 2]}'),
        "probe",
        Severity.ERROR,
    ),
    "SRAM errors": (NEURON, "neuron", counter("sram_ecc_uncorrected"), "neuron-ecc", Severity.REPLACE),
    "HBM errors": (NEURON, "neuron", counter("mem_ecc_uncorrected"), "neuron-ecc", Severity.REPLACE),
    "repairable errors": (
        NEURON,
        "neuron",
        counter("mem_ecc_repairable_uncorrected"),
        "neuron-ecc",
        Severity.REBOOT,
    ),
    "a counter without a number": (
        NEURON,
        "neuron",
        lambda n: n.write(
            "sys/devices/virtual/neuron_device/neuron0/stats/hardware/mem_ecc_uncorrected", "x"
        ),
        "probe",
        Severity.ERROR,
    ),
    # Disks
    "read-only disk": (
        CPU,
        "disks",
        lambda n: n.mount("/dev/nvme1n1 /scratch xfs ro,relatime 0 0"),
        "disk-read-only",
        Severity.REBOOT,
    ),
    "lost disk of the host": (
        GPU,
        "disks",
        lambda n: (n.root / "sys/class/nvme/nvme1/model").unlink(),
        "local-disks",
        Severity.MONITOR,
    ),
    "shared file system is gone": (
        CPU,
        "disks",
        lost_mount,
        "shared-mount",
        Severity.REBOOT,
    ),
}
LATE_XID = (
    "[ 1000.000001] NVRM: Xid (PCI:0000:53:00): 48, old\n[99990.000001] NVRM: Xid (PCI:0000:53:00): 79, new\n"
)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_severity_and_action(tmp_path: Path, name: str) -> None:
    instance_type, probe, damage, check, severity = FAULTS[name]
    node = HealthNode(tmp_path, instance_type)
    damage(node)
    report = judged(node, probe)
    [result] = [each for each in report.results if each.findings]
    assert result.probe == probe
    assert {(each.check, each.severity) for each in result.findings} == {(check, severity)}
    assert report.severity is severity
    assert report.to_json()["action"] == ACTIONS[severity]
    assert report.exit_code == (0 if severity.usable else 3 if severity is Severity.ERROR else 1)


def test_every_severity_of_every_check_is_among_the_faults() -> None:
    shown = {(check, severity) for _, _, _, check, severity in FAULTS.values()}
    listed = {(check.name, severity) for check in CHECKS.values() for severity in check.severities}
    # Tested on their own: a program that hangs, sizes of file systems, bandwidth, the instance type.
    elsewhere = {"gpu-answers", "disk-full", "shared-mount", "all-reduce-bandwidth", "instance-type"}
    assert {pair for pair in listed - shown if pair[0] not in elsewhere} == set()
