"""The nodes of the fleet: what DCGM, Neuron monitor, the EFA exporter and node exporter would tell of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from catalog.metrics import JOBS
from programs.exporters.efa.counters import DEVICE, NODE, PORT
from tests.fleet.series import ABSENT, Curve, Series, between, noise

GIB = 2**30
GPUS = 8
EFA_DEVICES = 4
NEURON_CORES = 8
RESOURCES = {"gpu": "nvidia_com_gpu", "neuron": "aws_amazon_com_neuron"}


@dataclass(frozen=True)
class Node:
    """A node: its cluster and name, its accelerators (gpu, neuron), and how busy they are, from 0 to 1."""

    cluster: str
    cluster_kind: str
    name: str
    accelerator: str
    busy: Curve

    @property
    def exporter(self) -> tuple[str, int]:
        """The job and the port of the exporter of its accelerators."""
        return (JOBS["dcgm"], 9400) if self.accelerator == "gpu" else (JOBS["neuron-monitor"], 8000)

    def labels(self, job: str, port: int) -> dict[str, str]:
        """Return the labels that a collector adds at a scrape."""
        return {
            "cluster": self.cluster,
            "cluster_kind": self.cluster_kind,
            "node": self.name,
            "job": job,
            "instance": f"{self.name}:{port}",
        }


@dataclass(frozen=True)
class Faults:
    """Faults of the fleet, by node and GPU or device: minutes at which they begin."""

    xid: Mapping[tuple[str, int], tuple[int, int]]
    hot: frozenset[tuple[str, int]]
    lossy: frozenset[str]
    silent: frozenset[tuple[str, str]]


def add_node(series: Series, node: Node, faults: Faults) -> None:
    """Add all series of a node."""
    if node.accelerator == "gpu":
        for gpu in range(GPUS):
            _gpu(series, node, gpu, faults)
    else:
        _neuron(series, node)
    _efa(series, node, faults)
    _host(series, node)
    for job, port in (node.exporter, ("efa", 9821), ("node", 9100)):
        silent = (node.name, job) in faults.silent
        series.add("up", node.labels(job, port), between(170, series.minutes, 0 if silent else 1, 1))


def _gpu(series: Series, node: Node, gpu: int, faults: Faults) -> None:
    place = (node.name, gpu)
    labels = {
        **node.labels(*node.exporter),
        "gpu": str(gpu),
        "UUID": f"GPU-{node.name}-{gpu}",
        "pci_bus_id": f"00000000:{gpu:02X}:00.0",
        "device": f"nvidia{gpu}",
        "modelName": "fake",
        "hostname": node.name,
    }
    seed = f"{node.name}{gpu}"
    hot = place in faults.hot
    code, since = faults.xid.get(place, (0, series.minutes))
    load = noise(seed, 1.0)

    def busy(minute: int) -> float:
        return min(1.0, node.busy(minute) * load(minute))

    for name, curve in {
        "DCGM_FI_DEV_GPU_UTIL": lambda minute: 100 * busy(minute),
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": lambda minute: 0.55 * busy(minute),
        "DCGM_FI_PROF_DRAM_ACTIVE": lambda minute: 0.4 * busy(minute),
        "DCGM_FI_DEV_GPU_TEMP": lambda minute: (46 if hot else 32) + 34 * busy(minute),
        "DCGM_FI_DEV_MEMORY_TEMP": lambda minute: (50 if hot else 38) + 36 * busy(minute),
        "DCGM_FI_DEV_POWER_USAGE": lambda minute: 90 + 560 * busy(minute),
        "DCGM_FI_DEV_SM_CLOCK": lambda minute: 1400 if hot and busy(minute) > 0.5 else 1980,
        "DCGM_FI_DEV_FB_USED": lambda minute: 2000 + 66000 * (node.busy(minute) > 0.05),
        "DCGM_FI_DEV_FB_FREE": lambda minute: 79000 - 66000 * (node.busy(minute) > 0.05),
        "DCGM_FI_DEV_XID_ERRORS": lambda minute: code if minute >= since else 0,
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": lambda minute: 2 if code == 48 and minute >= since else 0,
        "DCGM_FI_DEV_ROW_REMAP_PENDING": lambda minute: 1 if code == 48 and minute >= since else 0,
        "DCGM_FI_DEV_ROW_REMAP_FAILURE": lambda _: 0,
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": lambda minute: 1 if code == 48 and minute >= since else 0,
    }.items():
        series.add(name, labels, curve)
    series.count("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", labels, 12.0 if hot else 0.0)
    series.count(
        "DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL", labels, noise(seed + "l", 3.0, 0.4) if hot else 0.0
    )
    series.count("DCGM_FI_DEV_THERMAL_VIOLATION", labels, lambda minute: 15e9 * busy(minute) if hot else 0.0)
    series.count("DCGM_FI_DEV_POWER_VIOLATION", labels, lambda minute: 6e9 * busy(minute))


def _neuron(series: Series, node: Node) -> None:
    labels = {
        **node.labels(*node.exporter),
        "instance_id": f"i-{node.name}",
        "instance_name": "",
        "instance_type": "fake",
        "availability_zone": "us-west-2a",
        "region": "us-west-2",
        "subnet_id": "subnet-1",
    }
    runtime = {**labels, "runtime_tag": "101"}
    for core in range(NEURON_CORES):
        load = noise(f"{node.name}{core}", 1.0)
        series.add(
            "neuroncore_utilization_ratio",
            {**runtime, "neuroncore": str(core)},
            lambda minute, load=load: min(1.0, node.busy(minute) * load(minute)),
        )
    for location, used in (("host", 8 * GIB), ("neuron_device", 200 * GIB)):
        series.add("neuron_runtime_memory_used_bytes", {**runtime, "memory_location": location}, used)
    for error in ("generic", "numerical", "transient", "model", "runtime", "hardware"):
        series.count(
            "execution_errors_total",
            {**runtime, "error_type": error},
            between(100, 110, 0.4) if error == "transient" else 0.0,
        )
    for device in range(2):
        for event in ("mem_ecc_corrected", "mem_ecc_uncorrected", "sram_ecc_uncorrected"):
            series.count(
                "hardware_ecc_events_total",
                {**labels, "neuron_device_index": str(device), "event_type": event},
                between(60, 140, 0.1) if event == "mem_ecc_corrected" and device == 0 else 0.0,
            )


def _efa(series: Series, node: Node, faults: Faults) -> None:
    labels = node.labels("efa", 9821)
    lossy = node.name in faults.lossy
    series.add("efa_devices", labels, EFA_DEVICES)
    growths: dict[str, list[Curve]] = {}
    fall = series.minutes - 3

    def count(name: str, place: Mapping[str, str], growth: Curve) -> None:
        series.count(name, place, growth)
        growths.setdefault(name, []).append(growth)

    for device in range(EFA_DEVICES):
        port = {**labels, "device": f"rdmap{device}s0", "port": "1"}
        load = noise(f"{node.name}e{device}", 60 * 11e9)

        def flow(minute: int, share: float = 1.0, load: Curve = load) -> float:
            return node.busy(minute) * load(minute) * share

        for name, share in {
            "efa_port_tx_bytes_total": 1.0,
            "efa_port_rx_bytes_total": 0.99,
            "efa_port_tx_packets_total": 1 / 8192,
            "efa_port_rx_packets_total": 1 / 8192,
            "efa_port_rdma_write_bytes_total": 0.93,
            "efa_port_rdma_read_bytes_total": 0.05,
            "efa_port_send_bytes_total": 0.02,
            "efa_port_retransmitted_bytes_total": 0.018 if lossy else 0.0002,
            "efa_port_rx_drops_total": (2e-4 if lossy else 0.0) / 8192,
            "efa_port_retransmit_timeouts_total": (1e-6 if lossy else 0.0) / 8192,
        }.items():
            count(name, port, lambda minute, share=share, flow=flow: flow(minute, share))
        for name in (
            "efa_port_unresponsive_remote_events_total",
            "efa_port_rdma_write_work_request_errors_total",
            "efa_port_rdma_read_work_request_errors_total",
        ):
            count(name, port, between(91, 94, 2.0 if lossy else 0.0))
        down = lossy and device == EFA_DEVICES - 1
        series.add("efa_port_state", port, between(fall, series.minutes, 1 if down else 4, 4))
        if down:
            series.add("efa_inactive_port_state", port, lambda minute: 1.0 if minute >= fall else ABSENT)
        count("efa_device_command_errors_total", {**labels, "device": f"rdmap{device}s0"}, lambda _: 0.0)
    for file, name in NODE.items():
        parts = growths[{**PORT, **DEVICE}[file]]
        series.count(name, labels, lambda minute, parts=parts: sum(part(minute) for part in parts))


def _host(series: Series, node: Node) -> None:
    labels = node.labels("node", 9100)
    for cpu in range(2):
        for mode, share in (("idle", 0.7), ("iowait", 0.04), ("user", 0.26)):
            curve = noise(f"{node.name}{mode}", 60 * share, 0.1)
            series.count("node_cpu_seconds_total", {**labels, "cpu": str(cpu), "mode": mode}, curve)
    series.add("node_load1", labels, noise(node.name + "load", 58, 0.2))
    series.add("node_memory_MemTotal_bytes", labels, 2048 * GIB)
    series.add("node_memory_MemAvailable_bytes", labels, noise(node.name + "m", 1500 * GIB))
    series.count("node_vmstat_oom_kill", labels, 0.0)
    full = node.cluster == "hyperpod"
    for mountpoint, kind, size, free in (
        ("/", "xfs", 200 * GIB, 0.45),
        ("/opt/dlami/nvme", "xfs", 28000 * GIB, 0.7),
        ("/fsx", "lustre", 19200 * GIB, 0.12 if full else 0.6),
    ):
        place = {**labels, "device": f"dev{mountpoint}", "fstype": kind, "mountpoint": mountpoint}
        series.add("node_filesystem_size_bytes", place, size)
        series.add(
            "node_filesystem_avail_bytes",
            place,
            lambda minute, size=size, free=free, kind=kind: (
                size * (free - 0.0003 * minute * (kind == "lustre"))
            ),
        )
        series.add("node_filesystem_readonly", place, 0)
    for device, rate in (("ens32", 8e8), ("lo", 1e5)):
        for name in ("node_network_receive_bytes_total", "node_network_transmit_bytes_total"):
            series.count(name, {**labels, "device": device}, noise(node.name + device + name, 60 * rate, 0.3))
    for name, rate in (("node_disk_read_bytes_total", 2e7), ("node_disk_written_bytes_total", 6e7)):
        series.count(name, {**labels, "device": "nvme0n1"}, noise(node.name + name, 60 * rate, 0.5))
