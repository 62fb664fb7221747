"""The dashboard of file systems: FSx from CloudWatch, and shared file systems as nodes see them."""

from __future__ import annotations

from typing import Final

from observability.dashboards.model import (
    CLUSTER,
    CLUSTERS,
    Board,
    CloudWatchQuery,
    Panel,
    Row,
    Variable,
    query,
)

LUSTRE: Final = Variable(
    name="file_system",
    query="dimension_values(default, AWS/FSx, FreeDataStorageCapacity, FileSystemId)",
    label="Lustre",
)
OPENZFS: Final = Variable(
    name="openzfs",
    query="dimension_values(default, AWS/FSx, UsedStorageCapacity, FileSystemId)",
    label="OpenZFS",
)
"""File systems by a metric that those of the other kind lack."""

LUSTRE_METRICS: Final = {
    "DataReadBytes": "bytes",
    "DataWriteBytes": "bytes",
    "DataReadOperations": "operations",
    "DataWriteOperations": "operations",
    "MetadataOperations": "operations",
    "FreeDataStorageCapacity": "bytes",
    "ClientConnections": "connections",
}
"""Metrics of FSx for Lustre in the namespace AWS/FSx by the dimension FileSystemId, with their units. Source: FSx for
Lustre user guide, "Amazon FSx for Lustre metrics and dimensions", and FSxMetrics of aws-cdk-lib."""

OPENZFS_METRICS: Final = {
    "DataReadBytes": ("bytes", ("Sum",)),
    "DataWriteBytes": ("bytes", ("Sum",)),
    "DataReadOperations": ("operations", ("Sum",)),
    "DataWriteOperations": ("operations", ("Sum",)),
    "MetadataOperations": ("operations", ("Sum",)),
    "ClientConnections": ("connections", ("Average", "Maximum")),
    "NetworkThroughputUtilization": ("percent", ("Average", "Maximum")),
    "FileServerDiskThroughputUtilization": ("percent", ("Average", "Maximum")),
    "FileServerDiskIopsUtilization": ("percent", ("Average", "Maximum")),
    "DiskIopsUtilization": ("percent", ("Average", "Maximum")),
    "CPUUtilization": ("percent", ("Average", "Maximum")),
    "StorageCapacity": ("bytes", ("Average", "Minimum")),
    "UsedStorageCapacity": ("bytes", ("Average", "Minimum")),
}
"""Metrics of FSx for OpenZFS in the namespace AWS/FSx by the dimension FileSystemId, with their units and the
statistics that the service calls valid. Source: FSx for OpenZFS user guide, "Amazon FSx for OpenZFS metrics and
dimensions"."""


def _of(metric: str, statistic: str, legend: str) -> CloudWatchQuery:
    return CloudWatchQuery(metric=metric, statistic=statistic, legend=legend, variable=LUSTRE.name)


def _of_openzfs(metric: str, statistic: str, legend: str) -> CloudWatchQuery:
    return CloudWatchQuery(metric=metric, statistic=statistic, legend=legend, variable=OPENZFS.name)


FSX: Final = Board(
    uid="trainforge-fsx",
    title="File systems",
    about="FSx for Lustre and for OpenZFS from CloudWatch, beside the free space that nodes see.",
    variables=(CLUSTER,),
    cloudwatch=(LUSTRE, OPENZFS),
    rows=(
        Row(
            title="FSx for Lustre",
            panels=(
                Panel(
                    title="Bytes a minute",
                    queries=(_of("DataReadBytes", "Sum", "read"), _of("DataWriteBytes", "Sum", "written")),
                    about="Sums over a minute, of all clients. Peaks of writes are checkpoints.",
                    unit="bytes",
                    minimum=0,
                ),
                Panel(
                    title="Operations a minute",
                    queries=(
                        _of("DataReadOperations", "Sum", "reads"),
                        _of("DataWriteOperations", "Sum", "writes"),
                        _of("MetadataOperations", "Sum", "metadata"),
                    ),
                    about="Many metadata operations: small files, or folders that are listed again and again.",
                    minimum=0,
                ),
                Panel(
                    title="Free space",
                    queries=(_of("FreeDataStorageCapacity", "Sum", "all servers"),),
                    about="Sum over all storage targets. One full target is enough for a write to fail.",
                    unit="bytes",
                    minimum=0,
                    width=8,
                ),
                Panel(
                    title="Fullest target",
                    queries=(_of("FreeDataStorageCapacity", "Minimum", "fullest target"),),
                    about="Free bytes on the storage target that has the least.",
                    unit="bytes",
                    minimum=0,
                    width=8,
                ),
                Panel(
                    title="Clients",
                    queries=(_of("ClientConnections", "SampleCount", "connections"),),
                    about="Connections of nodes to the file system.",
                    minimum=0,
                    width=8,
                ),
            ),
        ),
        Row(
            title="FSx for OpenZFS",
            panels=(
                Panel(
                    title="Home: space",
                    queries=(
                        _of_openzfs("UsedStorageCapacity", "Average", "used"),
                        _of_openzfs("StorageCapacity", "Average", "size"),
                    ),
                    about="Bytes that are used, snapshots included, and the size of the file system.",
                    unit="bytes",
                    minimum=0,
                    width=8,
                ),
                Panel(
                    title="Home: use of limits",
                    queries=(
                        _of_openzfs("NetworkThroughputUtilization", "Maximum", "network"),
                        _of_openzfs("FileServerDiskThroughputUtilization", "Maximum", "disk throughput"),
                        _of_openzfs("FileServerDiskIopsUtilization", "Maximum", "server's disk operations"),
                        _of_openzfs("DiskIopsUtilization", "Maximum", "volumes' disk operations"),
                        _of_openzfs("CPUUtilization", "Maximum", "processor"),
                    ),
                    about="Share of what the file system's throughput allows. At 100 % of one, all commands wait.",
                    unit="percent",
                    minimum=0,
                    width=8,
                ),
                Panel(
                    title="Home: clients",
                    queries=(_of_openzfs("ClientConnections", "Maximum", "connections"),),
                    about="Connections of nodes to the file server.",
                    minimum=0,
                    width=8,
                ),
                Panel(
                    title="Home: bytes a minute",
                    queries=(
                        _of_openzfs("DataReadBytes", "Sum", "read"),
                        _of_openzfs("DataWriteBytes", "Sum", "written"),
                    ),
                    about="Sums over a minute, of all clients. Data sets and checkpoints belong on Lustre.",
                    unit="bytes",
                    minimum=0,
                ),
                Panel(
                    title="Home: operations a minute",
                    queries=(
                        _of_openzfs("DataReadOperations", "Sum", "reads"),
                        _of_openzfs("DataWriteOperations", "Sum", "writes"),
                        _of_openzfs("MetadataOperations", "Sum", "metadata"),
                    ),
                    about="Many metadata operations: Python environments that all ranks import at once.",
                    minimum=0,
                ),
            ),
        ),
        Row(
            title="On the nodes",
            panels=(
                Panel(
                    title="Free space of shared file systems",
                    queries=query(f"device:shared_space:free_ratio{{{CLUSTERS}}}", "{{cluster}} {{device}}"),
                    about="As the nodes of each cluster see it.",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
                Panel(
                    title="Fullest disks of nodes",
                    queries=query(
                        f"bottomk(12, mountpoint:local_space:free_ratio{{{CLUSTERS}}})",
                        "{{cluster}} {{node}} {{mountpoint}}",
                    ),
                    about="Share that is free: the twelve fullest.",
                    kind="bars",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
            ),
        ),
    ),
)
