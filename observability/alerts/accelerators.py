"""Alerts on accelerators: errors, memory, throttling, loss, and accelerators that a job has and does not use.

Xid codes are recorded for each GPU first. A job's start or end changes the labels of the exporter's own series, so a
change between two of its values, the sign of a new Xid, would be lost at the very moment when a job dies of it.
"""

from __future__ import annotations

from typing import Final

from catalog.xids import without_repair
from observability.alerts.rules import Alert, Group, Record, by, place

GPU: Final = ("cluster", "node", "gpu")
NODE: Final = ("cluster", "node")

ACCELERATOR_RESOURCES: Final = "nvidia_com_gpu|aws_amazon_com_neuron(core|device)?"
"""Pattern of the accelerators' resources as kube-state-metrics names them: characters that a label may not have are
underscores (its own test shows nvidia_com_gpu)."""

POD_ACCELERATORS: Final = (
    f"({by('cluster', 'node', 'namespace', 'pod', operator='sum')} "
    f'(kube_pod_container_resource_requests{{resource=~"{ACCELERATOR_RESOURCES}"}})'
    " and on (cluster, namespace, pod) "
    f'({by("cluster", "namespace", "pod")} (kube_pod_status_phase{{phase="Running"}}) == 1))'
)
"""Accelerators that each running pod requests, by node."""

_GPU = by(*GPU)
_NODE = by(*NODE)
_AVG = by(*NODE, operator="avg")
_HERE = place(cluster="on cluster", node="node", gpu="GPU")
_SHARE = "{{ $value | humanizePercentage }}"
_ON_NODE = place(cluster="on cluster", node="node")
_REPAIR_XIDS = " ".join(("gpu:xid:new", *(f"!= {code}" for code in without_repair())))

RECORDS: Final = Group(
    name="accelerators-recorded",
    rules=(
        Record(
            name="node:gpus:count",
            expr=f"{by(*NODE, operator='count')} ({_GPU} (DCGM_FI_DEV_GPU_TEMP))",
            help="GPUs that DCGM sees on a node.",
        ),
        Record(
            name="gpu:xid:last",
            # Compared first: nearly every GPU has none, and a series of each would only be stored and read again.
            expr=f"{_GPU} (DCGM_FI_DEV_XID_ERRORS > 0)",
            help="Last Xid code of a GPU; no series for a GPU without one.",
        ),
        Record(
            name="gpu:xid:new",
            # The exporter gives the last code and keeps it: only a change is news, and the same code again is not seen.
            # A GPU had no code at a time when its node was seen and it has no series.
            expr=(
                "gpu:xid:last and ("
                "count_over_time(gpu:xid:last[15m])"
                " < on (cluster, node) group_left () count_over_time(node:gpus:count[15m])"
                " or changes(gpu:xid:last[15m]) > 0)"
            ),
            help="Xid code of a GPU that reported it in the last 15 minutes; no series where there is none.",
        ),
        *(
            Record(
                name=f"gpu:{reason}_throttling:ratio_rate10m",
                # Nanoseconds. A job's start or end begins another series, which has the share of its own time.
                expr=f"{_GPU} (rate(DCGM_FI_DEV_{reason.upper()}_VIOLATION[10m]) > 0) / 1e9",
                help=f"Share of the last ten minutes in which {cause} reduced a GPU's clocks; no series for none.",
            )
            for reason, cause in (("thermal", "the temperature"), ("power", "the power limit"))
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
            name="node:accelerators_allocated:count",
            expr=(
                f"{_NODE} (trainforge_slurm_node_gpus_allocated) or "
                f"{by(*NODE, operator='sum')} {POD_ACCELERATORS}"
            ),
            help="Accelerators of a node that Slurm jobs or running pods have.",
        ),
        Record(
            name="job:accelerator_utilization:avg",
            expr=(
                f"{by('cluster', 'job_id', operator='avg')} ("
                f"{by('cluster', 'job_id', 'node')} (trainforge_slurm_job_node)"
                " * on (cluster, node) group_left () node:accelerator_utilization:avg)"
                f" or {by('cluster', 'job_id', operator='avg')} (label_join("
                f'{POD_ACCELERATORS} * 0, "job_id", "/", "namespace", "pod")'
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
            expr=_REPAIR_XIDS,
            severity="critical",
            hold="0s",
            labels=GPU,
            summary=f"Xid {{{{ $value }}}} {_HERE}.",
            page="gpu-xid",
        ),
        Alert(
            name="GpuXidWithoutRepair",
            expr=f"gpu:xid:new unless ({_REPAIR_XIDS})",
            severity="info",
            hold="0s",
            labels=GPU,
            summary=f"Xid {{{{ $value }}}}, after which NVIDIA asks for no repair of the node, {_HERE}.",
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
            expr="node:gpus:count < max_over_time(node:gpus:count[1d])",
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
            expr="gpu:power_throttling:ratio_rate10m > 0.5",
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
                "max_over_time(node:accelerator_utilization:avg[30m]) < 0.02"
                " and on (cluster, node) min_over_time(node:accelerators_allocated:count[30m]) > 0"
            ),
            severity="warning",
            hold="15m",
            labels=NODE,
            summary=(
                f"A job has accelerators and uses none of them: utilization {{{{ $value | humanizePercentage }}}} "
                f"{_ON_NODE}."
            ),
            page="accelerators-idle",
        ),
    ),
)
