"""The series that the rules read, of a fleet: as many as the exporters of its nodes have, with their labels.

Nine of ten nodes have eight GPUs and 32 EFA devices, as p5.48xlarge has, the tenth 16 Neuron devices. Half are of a
Slurm cluster, half of a Kubernetes one. Two of a hundred nodes have faults, so that rules that compare first find
something.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from catalog.metrics import JOBS
from catalog.ports import (
    DCGM_EXPORTER_PORT,
    EFA_EXPORTER_PORT,
    KUBE_STATE_METRICS_PORT,
    NEURON_MONITOR_PORT,
    NODE_EXPORTER_PORT,
    SLURM_EXPORTER_PORT,
)
from tests.bench.rule_history import BEGIN, SCRAPE_SECONDS, Sampled

SLURM, KUBERNETES = "slurm", "eks"
GPUS, EFA_DEVICES, NEURON_DEVICES, NEURON_CORES = 8, 32, 16, 64
"""Of a node: p5.48xlarge, and trn2.48xlarge, whose 128 cores are 64 logical ones."""

_NODES_OF_A_RUN = 50
_NEURON_OF, _FAULTY_OF = 20, 50
"""Of so many nodes two have Neuron devices, one of each cluster, and one has faults."""

_SYSTEM_PODS = 12
"""Pods of DaemonSets on a node: network, proxy, two drivers of volumes, two device plugins, exporters, agents."""

_VALUES: Final = {
    **dict.fromkeys(("up", "node_filesystem_avail_bytes", "node_filesystem_size_bytes"), 1.0),
    **dict.fromkeys(("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"), 1.0),
    **dict.fromkeys(("kube_node_info", "trainforge_slurm_node_expected", "trainforge_slurm_job_node"), 1.0),
    **dict.fromkeys(("trainforge_slurm_command_success", "exporter:up:max", "run:goodput:ratio"), 1.0),
    **dict.fromkeys(("trainforge_rank_work_seconds", "neuroncore_utilization_ratio"), 0.9),
    **dict.fromkeys(("trainforge_slurm_node_gpus", "trainforge_slurm_node_gpus_allocated"), float(GPUS)),
    **dict.fromkeys(("node:gpus:count", "node:gpus:max10m"), float(GPUS)),
    "node:exporters:count": 4.0,
    "trainforge_run_quiet_limit_seconds": 900.0,
    "trainforge_progress_loss": 2.5,
    **dict.fromkeys(("efa_devices", "node:efa_devices:max10m"), float(EFA_DEVICES)),
    "DCGM_FI_DEV_GPU_TEMP": 60.0,
}
"""Values of a fleet without faults; others are 0."""

_GROWTH: Final = {"efa_node_tx_bytes_total": 1e9}
_GPU_METRICS = (
    *("DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"),
    *("DCGM_FI_DEV_ROW_REMAP_FAILURE", "DCGM_FI_DEV_ROW_REMAP_PENDING"),
)
_EFA_METRICS = (
    *("efa_devices", "efa_node_tx_bytes_total", "efa_node_rx_drops_total"),
    *("efa_node_retransmitted_bytes_total", "efa_node_unresponsive_remote_events_total"),
)
"""Of a node: the EFA exporter adds up its devices. A port has a series of its own where it is not active."""

_EXECUTION_ERRORS = ("generic", "numerical", "transient", "model", "runtime", "hardware")
_ECC_EVENTS = ("mem_ecc_corrected", "mem_ecc_uncorrected", "sram_ecc_corrected", "sram_ecc_uncorrected")
_RESOURCES = ("cpu", "memory", "pods", "ephemeral_storage", "hugepages_1Gi", "hugepages_2Mi")
_GPU_RESOURCES = ("nvidia_com_gpu", "vpc_amazonaws_com_efa")
_NEURON_RESOURCES = ("aws_amazon_com_neuron", "vpc_amazonaws_com_efa")
_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
_ACTIVITIES = ("advance", "repeat", "start", "checkpoint", "other", "stall", "wait")
_LUSTRE, _HOME = "10.0.0.10@tcp:/abcdefgh", "fs-0123456789abcdef0.fsx.us-west-2.amazonaws.com:/fsx"
_HEAD = "ip-10-1-9-9"


def fleet(nodes: int) -> dict[str, list[Sampled]]:
    """Return the series of a fleet of so many nodes by name: those of exporters, and of recorded ones the history.

    A recorded series that is not among them has no history that a rule reads: it is recorded at each evaluation.
    """
    found: dict[str, list[Sampled]] = {}
    for one in _fleet(nodes):
        found.setdefault(one.name, []).append(one)
    return found


def _fleet(nodes: int) -> Iterator[Sampled]:
    for number in range(nodes):
        yield from Node(number).series()
    for cluster in (SLURM, KUBERNETES):
        yield from _of_cluster(cluster)
        for run in range(-(-nodes // _NODES_OF_A_RUN)):
            yield from _of_run(cluster, run)


@dataclass(frozen=True)
class Node:
    """A node by its number: every second one is of the Slurm cluster, the others of the Kubernetes one."""

    number: int

    @property
    def slurm(self) -> bool:
        """True for a node of the Slurm cluster."""
        return self.number % 2 == 0

    @property
    def neuron(self) -> bool:
        """True for a node with Neuron devices, false for one with GPUs."""
        return self.number % _NEURON_OF in (0, 1)

    @property
    def faulty(self) -> bool:
        """True for a node with a port that is down, a hot GPU that had an error, and a job that uses no GPU."""
        return self.number % _FAULTY_OF == _FAULTY_OF - 1

    @property
    def name(self) -> str:
        """The host name."""
        return f"ip-10-1-{self.number // 250}-{self.number % 250}"

    def series(self) -> Iterator[Sampled]:
        """Yield each series of the node."""
        yield from self._neuron() if self.neuron else self._gpus()
        labels = _labels(self._of("efa", EFA_EXPORTER_PORT))
        for name in _EFA_METRICS:
            yield _healthy(name, labels)
        if self.faulty:
            port = {**self._of("efa", EFA_EXPORTER_PORT), "device": "rdmap0s0", "port": "1"}
            yield Sampled("efa_inactive_port_state", _labels(port), 1.0)
        yield from self._host()
        yield from self._of_run()
        yield from self._of_slurm() if self.slurm else self._of_kubernetes()
        for name in ("node:exporters:count", "node:efa_devices:max10m"):
            yield _healthy(name, self._place())

    def _place(self, **more: str) -> str:
        return _labels({"cluster": self._shared["cluster"], "node": self.name, **more})

    @property
    def _shared(self) -> dict[str, str]:
        return _shared(SLURM if self.slurm else KUBERNETES)

    def _of(self, exporter: str, port: int) -> dict[str, str]:
        """Return the labels of a scrape on the node."""
        return {**self._shared, "node": self.name, "job": JOBS[exporter], "instance": f"{self.name}:{port}"}

    @property
    def _run(self) -> str:
        return str(self.number // _NODES_OF_A_RUN)

    @property
    def _pod(self) -> dict[str, str]:
        return {"namespace": "research", "pod": f"run-{self._run}-node-0-{self.number}"}

    def _gpus(self) -> Iterator[Sampled]:
        shared = self._of("dcgm", DCGM_EXPORTER_PORT)
        job = {"hpc_job": self._run} if self.slurm else {**self._pod, "container": "trainer"}
        for gpu in range(GPUS):
            bad = self.faulty and gpu == 0
            labels = {
                **shared,
                "gpu": str(gpu),
                "UUID": f"GPU-{uuid.UUID(int=self.number * GPUS + gpu)}",
                "pci_bus_id": f"00000000:{gpu:02X}:00.0",
                "device": f"nvidia{gpu}",
                "modelName": "NVIDIA H100 80GB HBM3",
                "hostname": self.name,
                **job,
            }
            text = _labels(labels)
            for name in _GPU_METRICS:
                yield _healthy(name, text)
            yield Sampled("DCGM_FI_DEV_GPU_UTIL", text, 0.0 if self.faulty else 90.0)
            # Nanoseconds in which a limit reduced the clocks: that of the power does it on every GPU that computes.
            yield Sampled("DCGM_FI_DEV_POWER_VIOLATION", text, growth=3e9)
            yield Sampled("DCGM_FI_DEV_THERMAL_VIOLATION", text, growth=3e9 if bad else 0.0)
            xid = {"window_size_in_ms": "300000", **({"xid": "31"} if bad else {})}
            yield Sampled("DCGM_EXP_XID_ERRORS_COUNT", _labels({**labels, **xid}), float(bad))
            if self.faulty:
                yield _healthy("gpu:allocated_idle:max", self._place(gpu=str(gpu)))
        if self.faulty:
            yield Sampled("node:allocated_idle:count", self._place(), float(GPUS))
        for name in ("node:gpus:count", "node:gpus:max10m"):
            yield _healthy(name, self._place())

    def _neuron(self) -> Iterator[Sampled]:
        labels = {
            **self._of("neuron-monitor", NEURON_MONITOR_PORT),
            "instance_id": f"i-{self.number:017x}",
            "instance_name": "",
            "instance_type": "trn2.48xlarge",
            "availability_zone": "us-west-2a",
            "region": "us-west-2",
            "subnet_id": "subnet-0123456789abcdef0",
        }
        runtime = {**labels, "runtime_tag": "101"}
        for core in range(NEURON_CORES):
            yield _healthy("neuroncore_utilization_ratio", _labels({**runtime, "neuroncore": str(core)}))
        for error in _EXECUTION_ERRORS:
            yield _healthy("execution_errors_total", _labels({**runtime, "error_type": error}))
        for device in range(NEURON_DEVICES):
            for event in _ECC_EVENTS:
                place = {"neuron_device_index": str(device), "event_type": event}
                yield _healthy("hardware_ecc_events_total", _labels({**labels, **place}))

    def _host(self) -> Iterator[Sampled]:
        shared = self._of("node-exporter", NODE_EXPORTER_PORT)
        accelerators = (
            ("neuron-monitor", NEURON_MONITOR_PORT) if self.neuron else ("dcgm", DCGM_EXPORTER_PORT)
        )
        scrapes = [self._of(*accelerators), self._of("efa", EFA_EXPORTER_PORT), shared]
        # Node exporter is asked a second time for the files of users.
        for scrape in [*scrapes, {**shared, "job": "textfile"}] if self.slurm else scrapes:
            yield _healthy("up", _labels(scrape))
        for name in ("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes", "node_vmstat_oom_kill"):
            yield _healthy(name, _labels(shared))
        for device, fstype, mountpoint in self._mounts():
            place = {"device": device, "fstype": fstype, "mountpoint": mountpoint, "device_error": ""}
            for name in ("avail_bytes", "size_bytes", "readonly"):
                yield _healthy(f"node_filesystem_{name}", _labels({**shared, **place}))

    def _mounts(self) -> Iterator[tuple[str, str, str]]:
        """Yield device, type and mount point of each file system; on Kubernetes a pod has mounts of its own."""
        yield "/dev/nvme0n1p1", "xfs", "/"
        yield "/dev/nvme0n1p15", "vfat", "/boot/efi"
        yield "/dev/mapper/vg.01-lv_ephemeral", "xfs", "/opt/dlami/nvme"
        yield "tmpfs", "tmpfs", "/run"
        if self.slurm:
            yield _LUSTRE, "lustre", "/fsx"
            yield _HOME, "nfs4", "/home"
            return
        pods = [f"/var/lib/kubelet/pods/{_uid(self.number, pod)}/volumes" for pod in range(_SYSTEM_PODS + 1)]
        yield _LUSTRE, "lustre", f"{pods[0]}/kubernetes.io~csi/fsx/mount"
        for pod in pods:
            yield "tmpfs", "tmpfs", f"{pod}/kubernetes.io~projected/kube-api-access-abcde"

    def _of_run(self) -> Iterator[Sampled]:
        labels = {**_of_runs(self._shared, self._run), "node": self.name}
        # Trainers on Neuron devices do not measure it.
        for local in () if self.neuron else range(GPUS):
            rank = self.number % _NODES_OF_A_RUN // 2 * GPUS + local
            yield _healthy("trainforge_rank_work_seconds", _labels({**labels, "rank": str(rank)}))
        yield Sampled("trainforge_rank_beat_timestamp_seconds", _labels(labels), BEGIN, float(SCRAPE_SECONDS))

    def _of_slurm(self) -> Iterator[Sampled]:
        labels = {**_of_head(self._shared), "node": self.name}
        gpus = () if self.neuron else ("trainforge_slurm_node_gpus", "trainforge_slurm_node_gpus_allocated")
        for name in ("trainforge_slurm_node_expected", *gpus):
            yield _healthy(name, _labels(labels))
        yield _healthy("trainforge_slurm_job_node", _labels({**labels, "job_id": self._run}))

    def _of_kubernetes(self) -> Iterator[Sampled]:
        labels = {
            **self._shared,
            "job": JOBS["kube-state-metrics"],
            "instance": f"10.1.9.9:{KUBE_STATE_METRICS_PORT}",
        }
        node = {**labels, "node": self.name}
        facts = {
            "kernel_version": "6.12.40-64.114.amzn2023.x86_64",
            "os_image": "Amazon Linux 2023",
            "container_runtime_version": "containerd://2.1.4",
            "kubelet_version": "v1.34.1-eks",
            "provider_id": f"aws:///us-west-2a/i-{self.number:017x}",
            "internal_ip": self.name.removeprefix("ip-").replace("-", "."),
        }
        yield _healthy("kube_node_info", _labels({**node, **facts}))
        accelerators = _NEURON_RESOURCES if self.neuron else _GPU_RESOURCES
        for resource in (*_RESOURCES, *accelerators):
            place = {"resource": resource, "unit": "integer"}
            yield Sampled("kube_node_status_allocatable", _labels({**node, **place}), float(GPUS))
        for condition in _CONDITIONS:
            for status in ("true", "false", "unknown"):
                place = {"condition": condition, "status": status}
                met = status == ("true" if condition == "Ready" else "false")
                yield Sampled("kube_node_status_condition", _labels({**node, **place}), float(met))
        for number in range(_SYSTEM_PODS + 1):
            name = {"namespace": "kube-system", "pod": f"system-{number}-{self.number:05x}"}
            pod = {**(name if number else self._pod), "uid": _uid(self.number, number)}
            for phase in _PHASES:
                running = float(phase == "Running")
                yield Sampled("kube_pod_status_phase", _labels({**labels, **pod, "phase": phase}), running)
            for resource in ("cpu", "memory", *(() if number else accelerators)):
                request = {"container": "c", "resource": resource, "unit": "integer"}
                text = _labels({**node, **pod, **request})
                yield Sampled("kube_pod_container_resource_requests", text, float(GPUS))


def _of_cluster(cluster: str) -> Iterator[Sampled]:
    shared = _shared(cluster)
    jobs = ("slurm", "runs") if cluster == SLURM else ("kube-state-metrics", "kueue", "runs")
    for exporter in jobs:
        yield _healthy("up", _labels({**shared, "node": "", "job": JOBS[exporter], "instance": _HEAD}))
    for exporter in ("dcgm", "neuron-monitor", "efa", "node-exporter", *jobs):
        yield _healthy("exporter:up:max", _labels({"cluster": cluster, "job": JOBS[exporter]}))
    if cluster == SLURM:
        labels = {**_of_head(shared), "node": _HEAD}
        for name in ("slurm_nodes_down", "slurm_nodes_drain"):
            yield _healthy(name, _labels(labels))
        for command in ("squeue", "nodes", "sdiag"):
            yield _healthy("trainforge_slurm_command_success", _labels({**labels, "command": command}))


def _of_run(cluster: str, run: int) -> Iterator[Sampled]:
    labels = {**_of_runs(_shared(cluster), str(run)), "node": ""}
    text = _labels(labels)
    for name in ("ended", "quiet_seconds", "quiet_limit_seconds", "starts_total"):
        yield _healthy(f"trainforge_run_{name}", text)
    for name in ("attempt", "stall"):
        yield Sampled(f"trainforge_run_{name}_timestamp_seconds", text, BEGIN - 86400)
    yield _healthy("trainforge_progress_loss", text)
    for activity in _ACTIVITIES:
        place, growth = _labels({**labels, "activity": activity}), float(activity == "advance")
        yield Sampled("trainforge_run_seconds_total", place, 5000.0, 0.9 * SCRAPE_SECONDS * growth)
    place = {"cluster": cluster, "run": labels["run"], "workload": labels["workload"]}
    yield _healthy("run:goodput:ratio", _labels(place))


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def _shared(cluster: str) -> dict[str, str]:
    return {"cluster": cluster, "cluster_kind": "hyperpod" if cluster == SLURM else "eks"}


def _of_head(shared: dict[str, str]) -> dict[str, str]:
    return {**shared, "job": JOBS["slurm"], "instance": f"{_HEAD}:{SLURM_EXPORTER_PORT}"}


def _of_runs(shared: dict[str, str], run: str) -> dict[str, str]:
    return {**shared, "job": JOBS["runs"], "instance": "runs", "run": f"run-{run}", "workload": "fsdp"}


def _uid(node: int, pod: int) -> str:
    return str(uuid.UUID(int=node * 100 + pod))


def _healthy(name: str, labels: str) -> Sampled:
    """Return a series with the value that it has in a fleet without faults."""
    return Sampled(name, labels, _VALUES.get(name, 0.0), _GROWTH.get(name, 0.0))
