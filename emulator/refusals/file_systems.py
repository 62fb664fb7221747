"""FSx: sizes, throughputs and subnets (FSx API reference, CreateFileSystem and its configurations)."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.refusals.refusal import number, refuses
from emulator.resources.resource import Resource

_LUSTRE_THROUGHPUT = {
    "PERSISTENT_1": (12, 40, 50, 100, 200),
    "PERSISTENT_2": (125, 250, 500, 1000),
}
_FIRST_GENERATION = (64, 128, 256, 512, 1024, 2048, 3072, 4096)
_SECOND_GENERATION = (160, 320, 640, 1280, 2560, 3840, 5120, 7680, 10240)
_OPENZFS_THROUGHPUT = {
    "SINGLE_AZ_1": _FIRST_GENERATION,
    "SINGLE_AZ_HA_1": _FIRST_GENERATION,
    "SINGLE_AZ_2": _SECOND_GENERATION,
    "SINGLE_AZ_HA_2": _SECOND_GENERATION,
    "MULTI_AZ_1": _SECOND_GENERATION,
}
_OPENZFS_GIB = range(64, 524_288 + 1)


@refuses("AWS::FSx::FileSystem")
def _lustre(resource: Resource) -> Iterator[str]:
    """SSD Lustre has 1,200 GiB, or a multiple of 2,400, and a throughput of its deployment type."""
    properties = resource.properties
    if properties.get("FileSystemType") != "LUSTRE":
        return
    lustre = properties.get("LustreConfiguration", {})
    deployment = lustre.get("DeploymentType", "SCRATCH_1")
    capacity = number(properties.get("StorageCapacity"))
    on_grid = capacity is None or capacity == 1200 or (capacity > 0 and capacity % 2400 == 0)
    if properties.get("StorageType", "SSD") == "SSD" and deployment != "SCRATCH_1" and not on_grid:
        yield f"StorageCapacity {capacity} is not 1200, 2400 or a multiple of 2400 GiB"
    throughput = number(lustre.get("PerUnitStorageThroughput"))
    allowed = _LUSTRE_THROUGHPUT.get(deployment, ())
    if throughput is not None and throughput not in allowed:
        yield f"PerUnitStorageThroughput {throughput} is not one of {list(allowed)} for {deployment}"
    if len(properties.get("SubnetIds", ())) != 1:
        yield "exactly one subnet must be specified for a Lustre file system"


@refuses("AWS::FSx::FileSystem")
def _openzfs(resource: Resource) -> Iterator[str]:
    """OpenZFS has the throughputs of its deployment type, and two subnets where it is in two zones."""
    properties = resource.properties
    if properties.get("FileSystemType") != "OPENZFS":
        return
    zfs = properties.get("OpenZFSConfiguration", {})
    deployment = zfs.get("DeploymentType", "")
    capacity = number(properties.get("StorageCapacity"))
    if (
        capacity is not None
        and properties.get("StorageType", "SSD") == "SSD"
        and capacity not in _OPENZFS_GIB
    ):
        yield f"StorageCapacity {capacity} is not from {_OPENZFS_GIB[0]} to {_OPENZFS_GIB[-1]} GiB"
    throughput, allowed = number(zfs.get("ThroughputCapacity")), _OPENZFS_THROUGHPUT.get(deployment, ())
    if throughput is not None and throughput not in allowed:
        yield f"ThroughputCapacity {throughput} is not one of {list(allowed)} for {deployment}"
    subnets = properties.get("SubnetIds", [])
    needed = 2 if deployment == "MULTI_AZ_1" else 1
    if len(subnets) != needed:
        yield f"{deployment} takes exactly {needed} subnet(s), not {len(subnets)}"
    preferred = zfs.get("PreferredSubnetId")
    if needed == 2 and preferred not in subnets:
        yield f"PreferredSubnetId {preferred} is not among SubnetIds"
