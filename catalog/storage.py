"""Sizes and throughputs that FSx offers for Lustre and OpenZFS, and requirements of an EFA-enabled Lustre."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from catalog.instance_facts import InstanceFacts

LustreDeployment = Literal["PERSISTENT_1", "PERSISTENT_2"]
OpenZfsDeployment = Literal["SINGLE_AZ_1", "SINGLE_AZ_HA_1", "SINGLE_AZ_2", "SINGLE_AZ_HA_2", "MULTI_AZ_1"]

LUSTRE_THROUGHPUTS: MappingProxyType[LustreDeployment, tuple[int, ...]] = MappingProxyType(
    {"PERSISTENT_1": (50, 100, 200), "PERSISTENT_2": (125, 250, 500, 1000)}
)
"""MB/s for each TiB of SSD storage, by deployment type. Source: FSx API, PerUnitStorageThroughput."""

LUSTRE_MIN_GIB = 1200
LUSTRE_STEP_GIB = 2400
"""A Lustre file system on SSD holds 1200 GiB or a multiple of 2400 GiB. Source: FSx API, StorageCapacity
(botocore's model of CreateFileSystem)."""

LUSTRE_EFA_MIN_GIB: MappingProxyType[int, int] = MappingProxyType(
    {125: 38400, 250: 19200, 500: 9600, 1000: 4800}
)
"""Smallest capacity of an EFA-enabled file system by throughput (MB/s/TiB).

Source for 250: the predecessor's templates, which check it. The others: at second hand, from public guides
that quote AWS; all four are 4800 GiB at 1000 MB/s/TiB scaled, and the FSx user guide's own example creates
4800 GiB with EFA. The guide's text has no table, so treat a finding on 125, 500 or 1000 as advice."""

LUSTRE_EFA_VERIFIED: frozenset[int] = frozenset({250})
"""Throughputs whose EFA minimum is in code that was run against AWS."""

OPENZFS_MIN_GIB = 64
OPENZFS_MAX_GIB = 524288
"""Bounds of an OpenZFS file system's SSD storage in GiB. Source: FSx API, StorageCapacity (botocore)."""

LAUNCH_PREFIX = "launch"
"""The prefix of all clusters' launch bundles in the data bucket."""

_OLDER = (64, 128, 256, 512, 1024, 2048, 3072, 4096)
_NEWER = (160, 320, 640, 1280, 2560, 3840, 5120, 7680, 10240)
OPENZFS_THROUGHPUTS: MappingProxyType[OpenZfsDeployment, tuple[int, ...]] = MappingProxyType(
    {
        "SINGLE_AZ_1": _OLDER,
        "SINGLE_AZ_HA_1": _OLDER,
        "SINGLE_AZ_2": _NEWER,
        "SINGLE_AZ_HA_2": _NEWER,
        "MULTI_AZ_1": _NEWER,
    }
)
"""Throughput in MB/s by deployment type. Source: FSx API, ThroughputCapacity (botocore), which names
SINGLE_AZ_1, SINGLE_AZ_2 and MULTI_AZ_1; the HA types go with them in the predecessor's templates."""


def launch_prefix(cluster: str) -> str:
    """Return the prefix of a cluster's launch bundle in the data bucket."""
    return f"{LAUNCH_PREFIX}/{cluster}"


def is_lustre_capacity(capacity_gib: int) -> bool:
    """Tell whether FSx offers a Lustre file system of this size (SSD)."""
    return capacity_gib == LUSTRE_MIN_GIB or (capacity_gib > 0 and capacity_gib % LUSTRE_STEP_GIB == 0)


def nearest_lustre_capacity(capacity_gib: int) -> int:
    """Return the smallest size on offer that holds `capacity_gib`, in GiB."""
    if capacity_gib <= LUSTRE_MIN_GIB:
        return LUSTRE_MIN_GIB
    return -(-capacity_gib // LUSTRE_STEP_GIB) * LUSTRE_STEP_GIB


def lustre_efa_min_gib(throughput_mbps_per_tib: int) -> int | None:
    """Return the smallest EFA-enabled file system in GiB; None for a throughput that has none."""
    return LUSTRE_EFA_MIN_GIB.get(throughput_mbps_per_tib)


def lustre_mbps(capacity_gib: int, throughput_mbps_per_tib: int) -> int:
    """Return what a whole file system reads and writes in MB/s, without short bursts."""
    return capacity_gib * throughput_mbps_per_tib // 1024


def nearest_throughput(throughput: int, offered: tuple[int, ...]) -> int:
    """Return the smallest of the offered throughputs that is enough, or the largest there is."""
    return next((step for step in sorted(offered) if step >= throughput), max(offered))


def reaches_lustre_by_efa(instance: InstanceFacts) -> bool:
    """Tell whether nodes of this type can use an EFA-enabled Lustre over EFA; others fall back to TCP.

    Source: FSx for Lustre user guide, "Working with EFA-enabled file systems": Nitro v4 or later with EFA,
    without the trn2 family; the same zone and the same /16 range as the file system.
    """
    return (instance.nitro or 0) >= 4 and instance.family not in {"trn2", "trn2u"}
