"""A made-up sysfs with EFA devices of each generation and driver, in the form that the kernel has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

BASIC = ("tx_bytes", "tx_pkts", "rx_bytes", "rx_pkts", "rx_drops")
MESSAGES = (
    *("send_bytes", "send_wrs", "recv_bytes", "recv_wrs"),
    *("rdma_read_wrs", "rdma_read_bytes", "rdma_read_wr_err", "rdma_read_resp_bytes"),
)
WRITES = ("rdma_write_wrs", "rdma_write_bytes", "rdma_write_wr_err", "rdma_write_recv_bytes")
NETWORK = (
    *("retrans_bytes", "retrans_pkts", "retrans_timeout_events"),
    *("unresponsive_remote_events", "impaired_remote_conn_events"),
)
DEVICE = (
    *(
        "submitted_cmds",
        "completed_cmds",
        "cmds_err",
        "no_completion_cmds",
        "keep_alive_rcvd",
        "alloc_pd_err",
    ),
    *("create_qp_err", "create_cq_err", "reg_mr_err", "alloc_ucontext_err", "create_ah_err", "mmap_err"),
)
KERNEL_VERBS = ("alloc_mr_err", "get_dma_mr_err")


@dataclass(frozen=True)
class Generation:
    """A generation of EFA devices, with the counters of a driver of its time.

    The ids of PCI devices are those of amzn/amzn-drivers, efa_main.c; the rates are what its
    efa_link_gbps_to_speed_and_width makes of 100, 100, 200 and 400 Gb/s. Which driver a node of it has is made up, so
    that the generations together cover the drivers.
    """

    pci_device: str
    rate: str
    port: tuple[str, ...]
    device: tuple[str, ...]
    split: bool = True


GENERATIONS: Mapping[str, Generation] = {
    # Before 1.14.0 a driver reported all counters at the device and at the port.
    "EFA 0": Generation("0xefa0", "100 Gb/sec (4X EDR)", BASIC + MESSAGES, DEVICE, split=False),
    "EFA 1": Generation("0xefa1", "100 Gb/sec (4X EDR)", BASIC + MESSAGES, DEVICE),
    "EFA 2": Generation("0xefa2", "200 Gb/sec (4X HDR)", BASIC + MESSAGES + WRITES, DEVICE),
    "EFA 3": Generation(
        "0xefa3", "400 Gb/sec (8X HDR)", BASIC + MESSAGES + WRITES + NETWORK, DEVICE + KERNEL_VERBS
    ),
}


@dataclass
class Sysfs:
    """A sysfs below `root`; `values` are counters by the names of devices and files."""

    root: Path
    values: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, name: str, generation: Generation, *, driver: str = "efa", number: int = 0) -> Path:
        """Add a device with counters of made-up values, and return its folder."""
        pci = f"0000:{number:02x}:1b.0"
        place = self.root / "devices" / f"pci0000:{number:02x}" / pci
        folder = place / "infiniband" / name
        (folder / "ports" / "1").mkdir(parents=True)
        (place / "device").write_text(f"{generation.pci_device}\n")
        (place / "numa_node").write_text(f"{number % 2}\n")
        drivers = self.root / "bus" / "pci" / "drivers" / driver
        drivers.mkdir(parents=True, exist_ok=True)
        (place / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
        (folder / "device").symlink_to("../..")
        (folder / "fw_ver").write_text("0.0.0.0\n")
        port = folder / "ports" / "1"
        (port / "state").write_text("4: ACTIVE\n")
        (port / "phys_state").write_text("5: LinkUp\n")
        (port / "rate").write_text(f"{generation.rate}\n")
        if generation.split:
            self._write(name, port / "hw_counters", generation.port)
            self._write(name, folder / "hw_counters", generation.device)
        else:
            for at in (port, folder):
                self._write(name, at / "hw_counters", generation.port + generation.device)
        link = self.root / "class" / "infiniband" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../devices/pci0000:{number:02x}/{pci}/infiniband/{name}")
        return folder

    def fleet_node(self, devices: int, generation: Generation) -> None:
        """Add the devices of a node."""
        for number in range(devices):
            self.add(f"rdmap{number}s0", generation, number=number)

    def _write(self, device: str, folder: Path, counters: tuple[str, ...]) -> None:
        folder.mkdir()
        (folder / "lifespan").write_text("10\n")
        for number, counter in enumerate(counters):
            value = self.values.setdefault((device, counter), 1000 * (number + 1) + len(self.values) % 7)
            (folder / counter).write_text(f"{value}\n")


def every_generation(root: Path) -> Sysfs:
    """Return a sysfs with one device of each generation, and a device of another driver."""
    sysfs = Sysfs(root)
    for number, generation in enumerate(GENERATIONS.values()):
        sysfs.add(f"efa_{number}", generation, number=number)
    sysfs.add("mlx5_0", GENERATIONS["EFA 1"], driver="mlx5_core", number=len(GENERATIONS))
    return sysfs
