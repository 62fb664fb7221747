"""The dashboard of one node: accelerators, EFA, processors, memory, disks, and the jobs on it."""

from __future__ import annotations

from typing import Final

from observability.dashboards.model import ON_NODES, ONE_CLUSTER, ONE_NODE, Board, Panel, Query, Row, query

_GPU = "GPU {{gpu}}"
_CORE = "core {{neuroncore}}"
_EFA = "{{device}}"


def _two(title: str, about: str, sent: str, received: str, words: tuple[str, str], legend: str) -> Panel:
    """Return a panel of two rates of bytes, by device."""
    return Panel(
        title=title,
        queries=tuple(
            Query(
                expr=f"sum by (device) (rate({name}{{{ON_NODES}}}[$__rate_interval]))",
                legend=f"{legend} {word}",
            )
            for name, word in zip((sent, received), words, strict=True)
        ),
        about=about,
        unit="Bps",
        minimum=0,
    )


NODE: Final = Board(
    uid="trainforge-node",
    title="Node",
    about="One node: what its accelerators, network and disks do, and for whom.",
    variables=(ONE_CLUSTER, ONE_NODE),
    rows=(
        Row(
            title="Accelerators",
            panels=(
                Panel(
                    title="Utilization",
                    queries=(
                        Query(expr=f"max by (gpu) (DCGM_FI_DEV_GPU_UTIL{{{ON_NODES}}}) / 100", legend=_GPU),
                        Query(
                            expr=f"max by (neuroncore) (neuroncore_utilization_ratio{{{ON_NODES}}})",
                            legend=_CORE,
                        ),
                    ),
                    about="Share of time in which a kernel ran.",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
                Panel(
                    title="Tensor cores",
                    queries=query(f"max by (gpu) (DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{{{ON_NODES}}})", _GPU),
                    about="Share of cycles in which tensor cores worked. GPUs only. It says more than utilization.",
                    unit="percentunit",
                    minimum=0,
                ),
                Panel(
                    title="Memory of accelerators",
                    queries=(
                        Query(
                            expr=f"max by (gpu) (DCGM_FI_DEV_FB_USED{{{ON_NODES}}}) * 1048576", legend=_GPU
                        ),
                        Query(
                            expr=f'sum(neuron_runtime_memory_used_bytes{{{ON_NODES},memory_location="neuron_device"}})',
                            legend="Neuron devices",
                        ),
                    ),
                    about="Memory in use.",
                    unit="bytes",
                    minimum=0,
                ),
                Panel(
                    title="Temperature",
                    queries=query(f"max by (gpu) (DCGM_FI_DEV_GPU_TEMP{{{ON_NODES}}})", _GPU),
                    about="One GPU that differs from the others of the node is suspect.",
                    unit="celsius",
                ),
                Panel(
                    title="Power",
                    queries=query(f"max by (gpu) (DCGM_FI_DEV_POWER_USAGE{{{ON_NODES}}})", _GPU),
                    about="Power that each GPU draws.",
                    unit="watt",
                    minimum=0,
                ),
                Panel(
                    title="Clock",
                    queries=query(f"max by (gpu) (DCGM_FI_DEV_SM_CLOCK{{{ON_NODES}}}) * 1e6", _GPU),
                    about="Clock of the multiprocessors. Lower under load: throttled.",
                    unit="hertz",
                    minimum=0,
                ),
            ),
        ),
        Row(
            title="Jobs on the node",
            panels=(
                Panel(
                    title="Slurm jobs",
                    queries=query(
                        f"max by (job_id) (trainforge_slurm_job_node{{{ON_NODES}}}) * on (job_id) group_left"
                        " (username, partition, name) max by (job_id, username, partition, name)"
                        ' (trainforge_slurm_job_info{cluster=~"$cluster"})'
                    ),
                    about="Running jobs that have the node.",
                    kind="table",
                    height=6,
                    hidden=("Value",),
                    alone="none",
                ),
                Panel(
                    title="Pods with accelerators",
                    queries=query(
                        "sum by (namespace, pod, resource) (kube_pod_container_resource_requests"
                        f'{{{ON_NODES},resource=~"nvidia_com_gpu|aws_amazon_com_neuron.*"}})'
                    ),
                    about="Pods of the node, and how many accelerators each requests.",
                    kind="table",
                    height=6,
                    alone="none",
                ),
            ),
        ),
        Row(
            title="Network",
            panels=(
                _two(
                    "EFA",
                    "Bytes over EFA, by device. Devices of a node should be alike.",
                    "efa_port_tx_bytes_total",
                    "efa_port_rx_bytes_total",
                    ("sent", "received"),
                    _EFA,
                ),
                _two(
                    "Network interfaces",
                    "Bytes over ordinary interfaces: storage, control, everything but EFA.",
                    "node_network_transmit_bytes_total",
                    "node_network_receive_bytes_total",
                    ("sent", "received"),
                    "{{device}}",
                ),
            ),
        ),
        Row(
            title="Host",
            panels=(
                Panel(
                    title="Processors",
                    queries=(
                        Query(
                            expr=(
                                f'1 - avg(rate(node_cpu_seconds_total{{{ON_NODES},mode="idle"}}[$__rate_interval]))'
                            ),
                            legend="busy",
                        ),
                        Query(
                            expr=(
                                f'avg(rate(node_cpu_seconds_total{{{ON_NODES},mode="iowait"}}[$__rate_interval]))'
                            ),
                            legend="waits for disks",
                        ),
                    ),
                    about="Share of the processors' time.",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
                Panel(
                    title="Memory",
                    queries=query(f"max(node:memory_used:ratio{{{ON_NODES}}})", "used"),
                    about="Share of the memory in use. At 100 % the kernel ends processes.",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
                _two(
                    "Disks",
                    "Bytes from and to the disks of the node.",
                    "node_disk_read_bytes_total",
                    "node_disk_written_bytes_total",
                    ("read", "written"),
                    "{{device}}",
                ),
                Panel(
                    title="Free space",
                    queries=query(
                        f"min by (mountpoint) (mountpoint:local_space:free_ratio{{{ON_NODES}}})",
                        "{{mountpoint}}",
                    ),
                    about="Share of the node's own file systems that is free.",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
            ),
        ),
    ),
)
