"""Facts about EC2 instance types: what EC2 says of them, what vendors say, and where each fact is from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

DEFAULT_CONTROLLER_TYPE = "m6i.2xlarge"
"""Instance type of a controller when none is given: 8 vCPUs and 32 GiB carry slurmctld and its database."""
DEFAULT_LOGIN_TYPE = "m6i.xlarge"
"""Instance type of a login node when none is given: people edit, submit and copy there, nothing more."""
DEFAULT_DIRECTORY_TYPE = "t3.small"
"""Instance type of a directory server when none is given: thousands of entries fit into its 2 GiB."""

Architecture = Literal["x86_64", "arm64"]
RdmaOperation = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Accelerator:
    """The accelerators of one instance type: `count` alike devices of `memory_mib` each.

    `cores` is the number of Neuron cores of a device; None for GPUs, whose cores nobody schedules.
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

    `max_interfaces` is None where no source says it. `bandwidth_gbps` is the baseline that EC2 states for the
    card, in Gbit/s. It is no addend: on several types EC2 states the instance's total on every card.
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

    @property
    def total_gb(self) -> int:
        """Size of all disks together, in decimal gigabytes."""
        return self.count * self.size_gb


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What is known of one EC2 instance type.

    None means that no source says it, never zero. `threads_per_core` is EC2's default, and
    `valid_threads_per_core` what a CPU option may choose (empty where EC2 names none). `efa_cards` are the
    indexes of the network cards that carry an EFA in the layouts of `catalog.interfaces`, and
    `efa_interfaces` how many there are. `usage_classes` is how EC2 sells the type: on-demand, spot,
    capacity-block. `rdma` holds the EFA operations that need no CPU of the peer, and `nitro` the generation
    of the Nitro card (known for types with EFA only). `peak_tflops` is the vendor's dense peak of one
    accelerator by data type, in 10^12 operations a second; empty where no data sheet was read. `sockets` is
    the number of CPU sockets that the operating system sees. `topology_layers` is the depth of EC2's network
    topology labels. `deep_health_checks` are HyperPod's checks that AWS documents for this type under Slurm, and
    `deep_health_checks_eks` those under EKS.
    `sources` names, by field, where a fact is from that EC2's DescribeInstanceTypes does not state; one that
    begins with "unknown" says that nothing was found.
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
        """Whether it has GPUs or Neuron devices."""
        return self.accelerator is not None

    @property
    def has_gpus(self) -> bool:
        """Whether its accelerators are GPUs."""
        return self.accelerator is not None and self.accelerator.kind == "gpu"

    @property
    def has_neuron(self) -> bool:
        """Whether its accelerators are Neuron devices (Trainium, Inferentia)."""
        return self.accelerator is not None and self.accelerator.kind == "neuron"

    @property
    def accelerators(self) -> int:
        """Number of accelerators; 0 without any."""
        return 0 if self.accelerator is None else self.accelerator.count

    @property
    def supports_efa(self) -> bool:
        """Whether at least one EFA can be attached."""
        return self.efa_interfaces > 0


_MAX_LISTED = 6
"""Types that a message lists."""


class UnknownInstanceTypeError(ValueError):
    """An instance type that the catalog does not have; the message names the nearest and the next step."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nearest = nearest(name)
        super().__init__(_unknown(name, self.nearest))


def _unknown(name: str, near: tuple[str, ...]) -> str:
    """Word the message of UnknownInstanceTypeError."""
    if name.startswith("ml.") and name.removeprefix("ml.") in INSTANCES:
        return (
            f"instance type '{name}' is SageMaker's name; write '{name.removeprefix('ml.')}', "
            "the prefix 'ml.' is added where SageMaker wants it"
        )
    guess = f" (did you mean {' or '.join(repr(known) for known in near)}?)" if near else ""
    # Many know the accelerator and not the type, whose name has a dot.
    having = [facts.name for facts in matching([name]) if facts.accelerator] if "." not in name else []
    if len(name) > 1 and having:
        guess = f" (types with '{name}': {', '.join(having[:_MAX_LISTED])})"
    return (
        f"instance type '{name}' is not in the catalog{guess}; "
        "'trainforge catalog refresh' reads new types from EC2"
    )


class _Instances(Mapping[str, InstanceFacts]):
    """All instance types by name; the data file is read at the first look."""

    def __getitem__(self, name: str) -> InstanceFacts:
        return _load()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_load())

    def __len__(self) -> int:
        return len(_load())


INSTANCES: Mapping[str, InstanceFacts] = _Instances()
"""Every instance type of the catalog by name, sorted; read from data/ once, at the first look."""


@cache
def _load() -> Mapping[str, InstanceFacts]:
    """Read the data files."""
    # Here, not at the top: records imports the dataclasses of this file.
    from catalog.records import load

    return load()


def instance_types() -> tuple[str, ...]:
    """Return the names of all instance types of the catalog, sorted."""
    return tuple(INSTANCES)


def instance(name: str) -> InstanceFacts:
    """Return the facts of an instance type by its EC2 name.

    Raises:
        UnknownInstanceTypeError: the catalog has no such type, or the name carries SageMaker's `ml.`.
    """
    try:
        return INSTANCES[name]
    except KeyError:
        raise UnknownInstanceTypeError(name) from None


def matching(words: Iterable[str]) -> tuple[InstanceFacts, ...]:
    """Return the types whose name, or whose accelerator's name, has each of the words; all where there are none."""
    wanted = [word.lower() for word in words]
    return tuple(
        facts
        for facts in INSTANCES.values()
        if all(
            word in f"{facts.name} {facts.accelerator.name if facts.accelerator else ''}".lower()
            for word in wanted
        )
    )


def nearest(name: str, n: int = 3) -> tuple[str, ...]:
    """Return up to `n` known names that look most like `name`, best first; empty where nothing does."""
    bare = name.strip().lower().removeprefix("ml.")
    # A family that exists was meant: 'g5.9xlarge' is a size that g5 lacks, not a 'c5.9xlarge'. Then, a slip
    # replaces a character more often than it drops one: 'p5.47xlarge' is 'p5.48xlarge', not 'p5.4xlarge'.
    family = bare.partition(".")[0] + "."
    close = {
        *difflib.get_close_matches(bare, list(INSTANCES), n=12, cutoff=0.6),
        *(known for known in INSTANCES if known.startswith(family)),
    }
    return tuple(
        sorted(
            close,
            key=lambda known: (
                not known.startswith(family),
                _edits(bare, known),
                abs(len(bare) - len(known)),
                abs(_number(bare) - _number(known)),
                known,
            ),
        )[:n]
    )


def _number(name: str) -> int:
    """Return the number in a size: 8 of 'g5.8xlarge', 0 where there is none."""
    return int("".join(filter(str.isdecimal, name.partition(".")[2])) or 0)


def _edits(left: str, right: str) -> int:
    """Count the insertions, deletions and replacements that turn one name into the other."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        above = row
        row = [i]
        for j, b in enumerate(right, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
    return row[-1]
