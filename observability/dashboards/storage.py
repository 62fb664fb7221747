"""The dashboard of file systems: FSx from CloudWatch, and shared file systems as nodes see them."""

from __future__ import annotations

from typing import Final

from observability.dashboards.model import CLUSTER, CLUSTERS, Board, CloudWatchQuery, Panel, Row, query

FSX_METRICS: Final = {
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


def _of(metric: str, statistic: str, legend: str) -> CloudWatchQuery:
    return CloudWatchQuery(metric=metric, statistic=statistic, legend=legend)


FSX: Final = Board(
    uid="trainforge-fsx",
    title="File systems",
    about="FSx for Lustre from CloudWatch, beside the free space that nodes see.",
    variables=(CLUSTER,),
    cloudwatch=True,
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
            title="On the nodes",
            panels=(
                Panel(
                    title="Free space of shared file systems",
                    queries=query(
                        f"mountpoint:shared_space:free_ratio{{{CLUSTERS}}}", "{{cluster}} {{mountpoint}}"
                    ),
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
