"""Alerts on nodes: exporters that are silent, nodes that the scheduler cannot use, file systems, memory."""

from __future__ import annotations

from typing import Final

from observability.alerts.rules import Alert, Group, Record, by, place

NODE: Final = ("cluster", "node")
SHARED_FILE_SYSTEMS: Final = "lustre|nfs4?"
"""Pattern of the types of file systems that all nodes mount: one alert for each, not one for each node."""

CLUSTER_EXPORTERS: Final = "slurm(-.*)?|runs|kube-state-metrics|kueue"
"""Pattern of the exporters (`job`) that run where the cluster itself runs: always, however many nodes there are."""

TEMPORARY_FILE_SYSTEMS: Final = "tmpfs|ramfs|vfat"
"""Pattern of types in memory or of the boot partition; node exporter leaves out other pseudo file systems itself."""

PROGRAMS_FILE_SYSTEMS: Final = "fuse([.].*)?"
"""Pattern of file systems that a program shows, such as a bucket by Mountpoint for Amazon S3: no disk of the node, and
read-only where somebody mounts them so."""

_NODE = by(*NODE)
_ON_NODE = place(cluster="on cluster", node="node")
_LOCAL = f'fstype!~"{SHARED_FILE_SYSTEMS}|{TEMPORARY_FILE_SYSTEMS}|{PROGRAMS_FILE_SYSTEMS}"'
_SHARED = f'fstype=~"{SHARED_FILE_SYSTEMS}"'
_AVAILABLE, _SIZE = "node_filesystem_avail_bytes", "node_filesystem_size_bytes"

RECORDS: Final = Group(
    name="nodes-recorded",
    rules=(
        Record(
            # The alerts look back over these, which are few, and not over every exporter of every node.
            name="node:exporters:count",
            expr=f'{by(*NODE, operator="count")} (up{{node!=""}})',
            help="Exporters of a node that are asked, whether or not they answer; no series where none is known.",
        ),
        Record(
            name="node:expected:max",
            # A pool is scaled in, and a node that is switched off is not lost. Nothing says so of hosts of Batch.
            expr=f"{_NODE} (trainforge_slurm_node_expected) or {_NODE} (kube_node_info)",
            help="1 for a node that Slurm expects to run, or that Kubernetes has.",
        ),
        Record(
            name="exporter:up:max",
            # Batch has no host where no job runs, so that there each exporter comes and goes.
            expr=f'{by("cluster", "job")} (up{{cluster_kind!="batch",job!="textfile"}})',
            help="1 if an exporter answers on a node of the cluster, 0 if on none; none for clusters of Batch.",
        ),
        Record(
            name="node:memory_used:ratio",
            expr=f"1 - {by(*NODE, operator='min')} (node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)",
            help="Share of a node's memory that programs cannot take any more.",
        ),
        Record(
            name="mountpoint:local_space:free_ratio",
            expr=f"{by(*NODE, 'mountpoint', operator='min')} ({_AVAILABLE}{{{_LOCAL}}} / {_SIZE}{{{_LOCAL}}})",
            help="Share of a node's own file system that is free.",
        ),
        Record(
            name="device:shared_space:free_ratio",
            # Nodes tell the same; the median is right where one has a mount that hangs. Pods mount one file system at
            # folders of their own: what is mounted names it, and not the mount point.
            expr=f"quantile by (cluster, device) (0.5, {_AVAILABLE}{{{_SHARED}}} / {_SIZE}{{{_SHARED}}})",
            help="Share of a shared file system that is free, as the nodes of a cluster see it.",
        ),
    ),
)

ALERTS: Final = Group(
    name="nodes",
    rules=(
        Alert(
            name="ExporterDown",
            # Node exporter answers both for itself and for files of users.
            expr=f'{by("cluster", "node", "job", "instance")} (up{{job!="textfile"}} == 0)',
            severity="warning",
            hold="10m",
            labels=("cluster", "node", "job", "instance"),
            summary=(
                f"No answer {place(cluster='on cluster', node='node', job='exporter', instance='address')}."
            ),
            page="exporter-silent",
        ),
        Alert(
            name="ExporterAbsent",
            # Of no node any more: a collector, a right or the network of the whole cluster. An exporter on nodes counts
            # only if a node that is expected has fewer exporters than it had: the pool may be scaled to zero. Those
            # nodes have alerts of their own, which last; nothing else says that the cluster's exporters are gone.
            expr=(
                f'(max_over_time(exporter:up:max{{job=~"{CLUSTER_EXPORTERS}"}}[1d]) unless exporter:up:max) or '
                "((max_over_time(exporter:up:max[1h]) unless exporter:up:max) and on (cluster) "
                "(max_over_time(node:exporters:count[1h]) > (node:exporters:count or 0 * node:expected:max)"
                " and node:expected:max))"
            ),
            severity="critical",
            hold="10m",
            labels=("cluster", "job"),
            summary=f"No node sends these metrics any more {place(cluster='on cluster', job='exporter')}.",
            page="exporter-silent",
        ),
        Alert(
            name="NodeSilent",
            # A node that is gone is scraped no more, so that `up` is not 0 but absent. One may never have sent any.
            expr="node:expected:max unless node:exporters:count",
            severity="warning",
            hold="10m",
            labels=NODE,
            summary=f"The node sends no metrics {_ON_NODE}.",
            page="exporter-silent",
            fault="node-lost",
        ),
        Alert(
            name="GpuMetricsAbsent",
            # The scheduler knows the GPUs of the node, DCGM's exporter is not there, or answers without a GPU.
            expr=(
                f"({_NODE} (trainforge_slurm_node_gpus > 0)"
                f' or {_NODE} (kube_node_status_allocatable{{resource="nvidia_com_gpu"}} > 0))'
                " and node:expected:max and node:exporters:count unless node:gpus:count"
                ' unless on (cluster, node) up{job="dcgm"} == 0'
            ),
            severity="warning",
            hold="15m",
            labels=NODE,
            summary=f"The node has {{{{ $value }}}} GPUs and sends no metrics of them {_ON_NODE}.",
            page="exporter-silent",
        ),
        Alert(
            name="SlurmCommandFails",
            expr=f"{by('cluster', 'command')} (trainforge_slurm_command_success == 0)",
            severity="warning",
            hold="5m",
            labels=("cluster", "command"),
            summary=f"Slurm does not answer {place(cluster='on cluster', command='command')}.",
            page="slurm-command-fails",
        ),
        Alert(
            name="KubernetesNodeNotReady",
            expr=f'{_NODE} (kube_node_status_condition{{condition="Ready",status="true"}} == 0)',
            severity="critical",
            hold="5m",
            labels=NODE,
            summary=f"The node is not ready {_ON_NODE}.",
            page="node-not-ready",
            fault="node-lost",
        ),
        Alert(
            name="SlurmNodesDown",
            expr=f"{by('cluster')} (slurm_nodes_down > 0)",
            severity="critical",
            hold="5m",
            labels=("cluster",),
            summary=f"{{{{ $value }}}} nodes are down {place(cluster='on cluster')}.",
            page="slurm-nodes-unavailable",
        ),
        Alert(
            name="SlurmNodesDrained",
            expr=f"{by('cluster')} (slurm_nodes_drain > 0)",
            severity="warning",
            hold="30m",
            labels=("cluster",),
            summary=f"{{{{ $value }}}} nodes are drained or to be drained {place(cluster='on cluster')}.",
            page="slurm-nodes-unavailable",
        ),
        Alert(
            name="LocalFileSystemAlmostFull",
            expr="mountpoint:local_space:free_ratio < 0.1",
            severity="warning",
            hold="10m",
            labels=("cluster", "node", "mountpoint"),
            summary=(
                f"{{{{ $value | humanizePercentage }}}} are free {_ON_NODE}, file system {{{{ $labels.mountpoint }}}}."
            ),
            page="file-system-full",
        ),
        Alert(
            name="SharedFileSystemAlmostFull",
            expr="device:shared_space:free_ratio < 0.1",
            severity="warning",
            hold="10m",
            labels=("cluster", "device"),
            summary=(
                "{{ $value | humanizePercentage }} are free "
                f"{place(cluster='on cluster', device='file system')}."
            ),
            page="file-system-full",
            fault="shared-file-system-full",
        ),
        Alert(
            name="SharedFileSystemFull",
            expr="device:shared_space:free_ratio < 0.03",
            severity="critical",
            hold="5m",
            labels=("cluster", "device"),
            summary=(
                "{{ $value | humanizePercentage }} are free, checkpoints will fail, "
                f"{place(cluster='on cluster', device='file system')}."
            ),
            page="file-system-full",
            fault="shared-file-system-full",
        ),
        Alert(
            name="FileSystemReadOnly",
            expr=(
                f"{by(*NODE, 'mountpoint')} (node_filesystem_readonly{{{_LOCAL}}}) == 1"
                " unless on (cluster, node, mountpoint)"
                f" {by(*NODE, 'mountpoint')} (node_filesystem_readonly{{{_LOCAL}}} offset 1d) == 1"
            ),
            severity="critical",
            hold="2m",
            labels=("cluster", "node", "mountpoint"),
            summary=f"The file system is read-only {_ON_NODE}, mounted at {{{{ $labels.mountpoint }}}}.",
            page="file-system-full",
        ),
        Alert(
            name="NodeOutOfMemory",
            expr=f"{_NODE} (increase(node_vmstat_oom_kill[15m])) > 0",
            severity="warning",
            hold="0s",
            labels=NODE,
            summary=f"The kernel ended processes because memory was full {_ON_NODE}.",
            page="node-out-of-memory",
        ),
    ),
)
