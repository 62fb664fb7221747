"""Alerts on accelerators: errors, memory, throttling, loss, and accelerators that a job has and does not use."""

from __future__ import annotations

from typing import Final

from catalog.xids import without_repair
from observability.alerts.rules import Alert, Group, Record, by, place

GPU: Final = ("cluster", "node", "gpu")
NODE: Final = ("cluster", "node")

ACCELERATOR_RESOURCES: Final = "nvidia_com_gpu|aws_amazon_com_neuron(core|device)?"
"""Pattern of the accelerators' resources as kube-state-metrics names them: characters that a label may not have are
underscores (its own test shows nvidia_com_gpu)."""

_GPU = by(*GPU)
_NODE = by(*NODE)
_AVG = by(*NODE, operator="avg")
_HERE = place(cluster="on cluster", node="node", gpu="GPU")
_SHARE = "{{ $value | humanizePercentage }}"
_ON_NODE = place(cluster="on cluster", node="node")
_WITHOUT_REPAIR = "|".join(map(str, without_repair()))

IDLE_MINUTES, LOOKED_AT_MINUTES = 25, 30
"""Of the last minutes so many without work make an accelerator idle: our choice. Records have a sample each minute, so
that a job which began later is not judged yet."""

_IDLE = f"[{LOOKED_AT_MINUTES}m]) >= {IDLE_MINUTES}"

RECORDS: Final = Group(
    name="accelerators-recorded",
    rules=(
        Record(
            name="node:gpus:count",
            expr=f"{by(*NODE, operator='count')} ({_GPU} (DCGM_FI_DEV_GPU_TEMP))",
            help="GPUs that DCGM sees on a node.",
        ),
        Record(
            name="gpu:xid:new",
            # By code: a fatal error is often followed by one of the driver's clean-up within the same second. The
            # exporter counts those of five minutes, so that each is seen whatever the time between two scrapes.
            expr=(
                f'{by(*GPU, "xid")} (max_over_time(DCGM_EXP_XID_ERRORS_COUNT{{xid=~"[1-9][0-9]*"}}[10m]) > 0)'
            ),
            help="Xid errors of a code that a GPU reported in the last 15 minutes; no series where there are none.",
        ),
        Record(
            name="gpu:thermal_throttling:ratio_rate10m",
            # Nanoseconds. A job's start or end begins another series, which has the share of its own time.
            expr=f"{_GPU} (rate(DCGM_FI_DEV_THERMAL_VIOLATION[10m]) > 0) / 1e9",
            help="Share of the last ten minutes in which the temperature reduced a GPU's clocks; no series for none.",
        ),
        Record(
            name="node:accelerators:count",
            expr=(
                f"node:gpus:count or {by(*NODE, operator='count')} "
                f"({by(*NODE, 'neuroncore')} (neuroncore_utilization_ratio))"
            ),
            help="GPUs of a node, or NeuronCores that a runtime has open.",
        ),
        Record(
            name="node:accelerator_utilization:avg",
            expr=(f"{_AVG} (DCGM_FI_DEV_GPU_UTIL) / 100 or {_AVG} (neuroncore_utilization_ratio)"),
            help="Mean utilization of a node's GPUs or NeuronCores, from 0 to 1.",
        ),
        Record(
            name="pod:accelerators:count",
            expr=(
                f"{by('cluster', 'node', 'namespace', 'pod', operator='sum')} "
                f'(kube_pod_container_resource_requests{{resource=~"{ACCELERATOR_RESOURCES}"}})'
                " and on (cluster, namespace, pod) "
                f'({by("cluster", "namespace", "pod")} (kube_pod_status_phase{{phase="Running"}} == 1))'
            ),
            help="Accelerators that a running pod requests, by its node.",
        ),
        Record(
            name="node:accelerators_allocated:count",
            expr=(
                f"{_NODE} (trainforge_slurm_node_gpus_allocated) or "
                f"{by(*NODE, operator='sum')} (pod:accelerators:count)"
                # Slurm counts GPUs alone: a job on a node with other accelerators has them all.
                " or node:accelerators:count and on (cluster, node) trainforge_slurm_job_node"
            ),
            help="Accelerators of a node that Slurm jobs or running pods have.",
        ),
        Record(
            name="gpu:allocated_idle:max",
            # The exporter names a GPU's job or pod by a label. Compared first: a fleet that works has no such series.
            expr=(f'{_GPU} (DCGM_FI_DEV_GPU_UTIL{{hpc_job!=""}} < 2 or DCGM_FI_DEV_GPU_UTIL{{pod!=""}} < 2)'),
            help="Utilization in percent of a GPU that a job or a pod has and does not use now; else no series.",
        ),
        Record(
            name="node:allocated_idle:count",
            expr=(
                "node:accelerators_allocated:count > 0 and on (cluster, node)"
                # All that the node does, over those that are allocated: one of eight that works is not the mean.
                " node:accelerator_utilization:avg * on (cluster, node) node:accelerators:count"
                " / on (cluster, node) node:accelerators_allocated:count < 0.02"
            ),
            help="Accelerators of a node that jobs or pods have while their mean utilization is under 2 %.",
        ),
        Record(
            name="job:accelerator_utilization:avg",
            expr=(
                f"{by('cluster', 'job_id', operator='avg')} ("
                f"{by('cluster', 'job_id', 'node')} (trainforge_slurm_job_node)"
                " * on (cluster, node) group_left () node:accelerator_utilization:avg)"
                f" or {by('cluster', 'job_id', operator='avg')} (label_join("
                f'pod:accelerators:count * 0, "job_id", "/", "namespace", "pod")'
                " + on (cluster, node) group_left () node:accelerator_utilization:avg)"
            ),
            help="Mean utilization on the nodes of a Slurm job, or of a pod as namespace/pod.",
        ),
    ),
)

ALERTS: Final = Group(
    name="accelerators",
    rules=(
        Alert(
            name="GpuXid",
            # Codes that the catalog lacks are among them, and those of which the log alone says how bad they are.
            expr=f'gpu:xid:new{{xid!~"{_WITHOUT_REPAIR}"}}',
            severity="critical",
            hold="0s",
            labels=(*GPU, "xid"),
            summary=f"Xid {{{{ $labels.xid }}}} {_HERE}.",
            page="gpu-xid",
        ),
        Alert(
            name="GpuXidWithoutRepair",
            expr=f'gpu:xid:new{{xid=~"{_WITHOUT_REPAIR}"}}',
            severity="info",
            hold="0s",
            labels=(*GPU, "xid"),
            summary=f"Xid {{{{ $labels.xid }}}}, after which NVIDIA asks for no repair of the node, {_HERE}.",
            page="gpu-xid",
        ),
        Alert(
            name="GpuDoubleBitError",
            # The counter restarts with the driver or a reset, which is the way to end the alert.
            expr=f"{_GPU} (DCGM_FI_DEV_ECC_DBE_VOL_TOTAL > 0)",
            severity="critical",
            hold="0s",
            labels=GPU,
            summary=f"{{{{ $value }}}} memory errors that could not be corrected {_HERE}.",
            page="gpu-memory-error",
        ),
        Alert(
            name="GpuRowRemapFailure",
            expr=f"{_GPU} (DCGM_FI_DEV_ROW_REMAP_FAILURE > 0)",
            severity="critical",
            hold="0s",
            labels=GPU,
            summary=f"A memory row could not be replaced {_HERE}.",
            page="gpu-row-remapping",
            fault="row-remapping",
        ),
        Alert(
            name="GpuRowRemapPending",
            expr=f"{_GPU} (DCGM_FI_DEV_ROW_REMAP_PENDING > 0)",
            severity="warning",
            hold="5m",
            labels=GPU,
            summary=f"A memory row waits for a reset to be replaced {_HERE}.",
            page="gpu-row-remapping",
            fault="row-remapping",
        ),
        Alert(
            name="GpuLost",
            expr="node:gpus:count < max_over_time(node:gpus:max10m[1d])",
            severity="critical",
            hold="5m",
            labels=NODE,
            summary=f"Only {{{{ $value }}}} GPUs answer, fewer than in the last day, {_ON_NODE}.",
            page="gpu-lost",
        ),
        Alert(
            name="GpuThermalThrottling",
            expr="gpu:thermal_throttling:ratio_rate10m > 0.05",
            severity="warning",
            hold="10m",
            labels=GPU,
            summary=f"Clocks are reduced by the temperature {_SHARE} of the time {_HERE}.",
            page="gpu-throttling",
        ),
        Alert(
            name="GpuPowerThrottling",
            # A GPU that computes at its limit is throttled now and then: only one that always is differs from others.
            # Most GPUs have a share, so that it is not recorded.
            expr=f"{_GPU} (rate(DCGM_FI_DEV_POWER_VIOLATION[10m]) > 5e8) / 1e9",
            severity="info",
            hold="30m",
            labels=GPU,
            summary=f"Clocks are reduced by the power limit {_SHARE} of the time {_HERE}.",
            page="gpu-throttling",
        ),
        Alert(
            name="NeuronMemoryError",
            expr=(
                f"{by(*NODE, 'neuron_device_index', operator='sum')} (increase("
                'hardware_ecc_events_total{event_type=~"mem_ecc_uncorrected|sram_ecc_uncorrected"}[15m])) > 0'
            ),
            severity="critical",
            hold="0s",
            labels=("cluster", "node", "neuron_device_index"),
            summary=(
                "A memory error that could not be corrected "
                f"{place(cluster='on cluster', node='node', neuron_device_index='Neuron device')}."
            ),
            page="neuron-errors",
        ),
        Alert(
            name="NeuronHardwareErrors",
            expr=(
                f"{by(*NODE, operator='sum')} (increase("
                'execution_errors_total{error_type="hardware"}[15m])) > 0'
            ),
            severity="critical",
            hold="0s",
            labels=NODE,
            summary=f"Executions on Neuron devices failed with hardware errors {_ON_NODE}.",
            page="neuron-errors",
        ),
        Alert(
            name="AcceleratorsIdle",
            expr=(
                f"{by(*NODE, operator='count')} (count_over_time(gpu:allocated_idle:max{_IDLE})"
                # Without a job's label on GPUs, and of NeuronCores, only the whole node is known.
                f" or max_over_time(node:allocated_idle:count[{LOOKED_AT_MINUTES}m])"
                f" and count_over_time(node:allocated_idle:count{_IDLE}"
            ),
            severity="warning",
            hold="15m",
            labels=NODE,
            summary=f"A job has {{{{ $value }}}} accelerators and does not use them {_ON_NODE}.",
            page="accelerators-idle",
        ),
    ),
)
