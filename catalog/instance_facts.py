"""Facts about an EC2 instance type, from EC2 and from vendors, with the source of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Architecture = Literal["x86_64", "arm64"]
RdmaOperation = Literal["read", "write"]
Precision = Literal["fp32", "fp16", "bf16", "fp8"]
"""The arithmetic of a program's matrix products."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """The accelerators of one instance type: `count` alike devices of `memory_mib` each.

    `cores` is the number of Neuron cores of a device; None for GPUs, whose cores are not scheduled.
    """

    kind: Literal["gpu", "neuron"]
    name: str
    manufacturer: str
    count: int
    memory_mib: int
    cores: int | None = None

    @property
    def memory_gib(self) -> float:
        """Memory of one device in GiB."""
        return self.memory_mib / 1024

    @property
    def total_memory_gib(self) -> float:
        """Memory of all devices in GiB."""
        return self.count * self.memory_gib

    @property
    def total_cores(self) -> int | None:
        """Neuron cores of all devices; None for GPUs."""
        return None if self.cores is None else self.count * self.cores


@dataclass(frozen=True, slots=True)
class NetworkCard:
    """One network card: how many interfaces it takes, and whether an EFA (with or without IP) may be one.

    `max_interfaces` is None if no source states it. `bandwidth_gbps` is the baseline that EC2 states for the
    card, in Gbit/s. Do not add it up: on several types EC2 states the instance's total on every card.
    """

    index: int
    max_interfaces: int | None
    efa: bool
    efa_only: bool
    bandwidth_gbps: float | None = None


@dataclass(frozen=True, slots=True)
class InstanceStore:
    """Local NVMe disks: `count` of `size_gb` each (decimal gigabytes, as EC2 states them)."""

    count: int
    size_gb: int


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """Facts of one EC2 instance type.

    None means that no source states it, never zero. `threads_per_core` is EC2's default, and
    `valid_threads_per_core` what a CPU option may choose (empty where EC2 names none). `efa_cards` are the
    indexes of the network cards that carry an EFA in the layouts of `catalog.interfaces`, and
    `efa_interfaces` how many there are. `usage_classes` is how EC2 sells the type: on-demand, spot,
    capacity-block. `rdma` holds the EFA operations that need no CPU of the peer, and `nitro` the generation
    of the Nitro card (known for types with EFA only). `peak_tflops` is the vendor's dense peak of one
    accelerator by data type, in 10^12 operations a second; empty where no data sheet was read.
    `compute_capability` is what NVIDIA calls the features of a GPU, such as "8.0"; None for other devices. `sockets` is
    the number of CPU sockets that the operating system sees. `topology_layers` is the depth of EC2's network
    topology labels. `deep_health_checks` are HyperPod's checks that AWS documents for this type under Slurm, and
    `deep_health_checks_eks` those under EKS.
    `sources` names, by field, where a fact is from that EC2's DescribeInstanceTypes does not state; one that
    begins with "unknown" means that nothing was found.
    """

    name: str
    architecture: Architecture
    vcpus: int
    cores: int
    threads_per_core: int
    memory_mib: int
    network_cards: tuple[NetworkCard, ...]
    efa_interfaces: int
    efa_cards: tuple[int, ...]
    network_performance: str
    usage_classes: tuple[str, ...]
    hyperpod: bool
    valid_threads_per_core: tuple[int, ...] = ()
    bare_metal: bool = False
    accelerator: Accelerator | None = None
    instance_store: InstanceStore | None = None
    rdma: tuple[RdmaOperation, ...] | None = None
    nitro: int | None = None
    peak_tflops: Mapping[str, float] = field(default_factory=dict)
    compute_capability: str | None = None
    sockets: int | None = None
    nvlinks_per_gpu: int | None = None
    topology_layers: int | None = None
    deep_health_checks: tuple[str, ...] = ()
    deep_health_checks_eks: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The part before the dot: `p5` of a type of that family."""
        return self.name.partition(".")[0]

    @property
    def size(self) -> str:
        """The part after the dot."""
        return self.name.partition(".")[2]

    @property
    def memory_gib(self) -> float:
        """Memory of the machine in GiB."""
        return self.memory_mib / 1024

    @property
    def is_accelerated(self) -> bool:
        """True if it has GPUs or Neuron devices."""
        return self.accelerator is not None

    @property
    def has_gpus(self) -> bool:
        """True if its accelerators are GPUs."""
        return self.accelerator is not None and self.accelerator.kind == "gpu"

    @property
    def has_neuron(self) -> bool:
        """True if its accelerators are Neuron devices (Trainium, Inferentia)."""
        return self.accelerator is not None and self.accelerator.kind == "neuron"

    @property
    def accelerators(self) -> int:
        """Number of accelerators; 0 without any."""
        return 0 if self.accelerator is None else self.accelerator.count

    @property
    def supports_efa(self) -> bool:
        """True if at least one EFA can be attached."""
        return self.efa_interfaces > 0
