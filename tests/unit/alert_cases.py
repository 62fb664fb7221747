"""The cases of the alerts' tests: series of a fault that comes and goes, and when the alert is to fire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_N = 'cluster="c",node="n"'
_RUN = 'cluster="c",run="r",workload="w"'
_NODE = {"cluster": "c", "node": "n"}
_OF_RUN = {"cluster": "c", "run": "r", "workload": "w"}
_GPU = {**_NODE, "gpu": "0"}
_DCGM = f'{_N},gpu="0"'
_TWO_HOURS = 120
_LUSTRE = 'mountpoint="/fsx",fstype="lustre",device="d"'


@dataclass(frozen=True)
class Case:
    """A fault: `series` in promtool's notation at a sample a minute, the minutes of two looks, the alert's labels.

    At minute `fires` the alert fires (never where it is None), at minute `quiet` it does not.
    """

    alert: str
    series: Mapping[str, str]
    fires: int | None
    quiet: int
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str = ""


def _violation(name: str, nanoseconds_a_minute: int, minutes: int) -> dict[str, str]:
    total = nanoseconds_a_minute * minutes
    return {f"{name}{{{_DCGM}}}": f"0+{nanoseconds_a_minute}x{minutes} {total}x{_TWO_HOURS}"}


def _pod(resource: str) -> dict[str, str]:
    pod = 'cluster="c",namespace="team",pod="p"'
    return {
        f'kube_pod_container_resource_requests{{{pod},node="n",resource="{resource}",container="a"}}': "8x200",
        f'kube_pod_status_phase{{{pod},phase="Running"}}': "1x200",
    }


def _quiet(seconds: str, limit: str) -> dict[str, str]:
    return {
        f"trainforge_run_quiet_seconds{{{_RUN}}}": seconds,
        f"trainforge_run_quiet_limit_seconds{{{_RUN}}}": limit,
    }


def _xids(gpu: str = "0", **values: str) -> dict[str, str]:
    """Return the exporter's counts of five minutes by code (x79), and of a GPU without any."""
    counts = {f'{_N},gpu="{gpu}",xid="{code[1:]}"': series for code, series in values.items()}
    return {
        f"DCGM_EXP_XID_ERRORS_COUNT{{{labels}}}": series
        for labels, series in {**counts, f'{_N},gpu="7"': "0x60"}.items()
    }


def _expected(node: str, values: str) -> dict[str, str]:
    return {f'trainforge_slurm_node_expected{{cluster="c",node="{node}"}}': values}


_IDLE = "90x10 0x70 90x100"
_GPU_IS_THERE = {f"DCGM_FI_DEV_GPU_TEMP{{{_DCGM}}}": "40x200"}
_LATE = {**_GPU, "xid": "79"}

CASES = (
    # The count is there for five minutes.
    Case("GpuXid", _xids(x79="_x10 1x4 stale"), 11, 40, _LATE),
    Case("GpuXid", _xids(x79="_x10 1x4 stale"), 22, 27, _LATE, name="for-a-quarter-of-an-hour"),
    # The driver's clean-up follows within the second: it is no news beside what made it necessary.
    Case("GpuXid", _xids(x79="_x10 1x4 stale", x45="_x10 2x4 stale"), 11, 40, _LATE, name="and-a-clean-up"),
    Case(
        "GpuXidWithoutRepair",
        _xids(x79="_x10 1x4 stale", x45="_x10 2x4 stale"),
        11,
        40,
        {**_GPU, "xid": "45"},
        name="clean-up",
    ),
    # The same code again, an hour later: DCGM's last code has not changed.
    Case("GpuXid", _xids(x79="_x5 1x4 stale _x50 1x4 stale"), 62, 50, _LATE, name="again"),
    Case(
        "GpuXid",
        # The job ends by the error: the exporter's series has other labels from then on.
        {
            f'DCGM_EXP_XID_ERRORS_COUNT{{{_DCGM},xid="79",hpc_job="7"}}': "_x9 1 stale",
            f'DCGM_EXP_XID_ERRORS_COUNT{{{_DCGM},xid="79"}}': "_x10 1x3 stale",
        },
        12,
        40,
        _LATE,
        name="job-ends",
    ),
    Case("GpuXid", {f"DCGM_FI_DEV_XID_ERRORS{{{_DCGM}}}": "0x9 79x60"}, None, 12, name="kept-by-dcgm"),
    Case("GpuXid", _xids(x0="_x10 1x4 stale"), None, 12, name="none"),
    Case("GpuXid", _xids(x31="_x10 1x4 stale"), None, 12, name="of-a-program"),
    # A page fault of a program, a row that was replaced, a high rate of corrected errors.
    *(
        Case(
            "GpuXidWithoutRepair",
            _xids(**{f"x{code}": "_x10 1x4 stale"}),
            11,
            40,
            {**_GPU, "xid": str(code)},
            name=str(code),
        )
        for code in (31, 63, 92)
    ),
    Case("GpuXidWithoutRepair", _xids(x79="_x10 1x4 stale"), None, 12, name="lost"),
    # Of NVLink 5 the log says how bad it is, and 999 is in no catalogue. 310 is not 31.
    *(
        Case(
            "GpuXid",
            _xids(**{f"x{code}": "_x10 1x4 stale"}),
            11,
            40,
            {**_GPU, "xid": str(code)},
            name=str(code),
        )
        for code in (144, 310, 999)
    ),
    Case("GpuDoubleBitError", {f"DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{{_DCGM}}}": "0x5 2x10 0x20"}, 8, 20, _GPU),
    Case("GpuRowRemapFailure", {f"DCGM_FI_DEV_ROW_REMAP_FAILURE{{{_DCGM}}}": "0x5 1x10 0x20"}, 8, 20, _GPU),
    Case("GpuRowRemapPending", {f"DCGM_FI_DEV_ROW_REMAP_PENDING{{{_DCGM}}}": "0x5 1x20 0x20"}, 13, 30, _GPU),
    Case(
        "GpuLost",
        {
            f"DCGM_FI_DEV_GPU_TEMP{{{_DCGM}}}": "60x60",
            f'DCGM_FI_DEV_GPU_TEMP{{{_N},gpu="1"}}': "60x20 stale _x10 60x20",
        },
        29,
        40,
        _NODE,
    ),
    Case("GpuThermalThrottling", _violation("DCGM_FI_DEV_THERMAL_VIOLATION", 30 * 10**9, 40), 35, 70, _GPU),
    Case("GpuPowerThrottling", _violation("DCGM_FI_DEV_POWER_VIOLATION", 48 * 10**9, 60), 55, 90, _GPU),
    Case(
        "GpuPowerThrottling",
        _violation("DCGM_FI_DEV_POWER_VIOLATION", 12 * 10**9, 60),
        None,
        55,
        name="now-and-then",
    ),
    Case(
        "NeuronMemoryError",
        {
            f'hardware_ecc_events_total{{{_N},neuron_device_index="3",event_type="{kind}"}}': values
            for kind, values in (("mem_ecc_uncorrected", "0x9 1x60"), ("mem_ecc_corrected", "0+5x60"))
        },
        12,
        40,
        {**_NODE, "neuron_device_index": "3"},
    ),
    Case(
        "NeuronHardwareErrors",
        {f'execution_errors_total{{{_N},error_type="hardware"}}': "0x9 1x60"},
        12,
        40,
        _NODE,
    ),
    Case(
        "AcceleratorsIdle",
        {
            f"trainforge_slurm_node_gpus_allocated{{{_N}}}": "8x200",
            f"DCGM_FI_DEV_GPU_UTIL{{{_DCGM}}}": _IDLE,
            **_GPU_IS_THERE,
        },
        62,
        90,
        _NODE,
        name="slurm",
    ),
    Case(
        "AcceleratorsIdle",
        {**_pod("nvidia_com_gpu"), f"DCGM_FI_DEV_GPU_UTIL{{{_DCGM}}}": _IDLE, **_GPU_IS_THERE},
        62,
        90,
        _NODE,
        name="kubernetes",
    ),
    Case(
        "AcceleratorsIdle",
        {
            **_pod("aws_amazon_com_neuron"),
            f'neuroncore_utilization_ratio{{{_N},neuroncore="0"}}': "0.9x10 0x70 0.9x100",
        },
        62,
        90,
        _NODE,
        name="neuron",
    ),
    Case(
        "AcceleratorsIdle",
        # A job of Slurm, which counts no Neuron devices, has opened a runtime and waits.
        {
            'trainforge_slurm_job_node{cluster="c",job_id="7",node="n"}': "1x200",
            f'neuroncore_utilization_ratio{{{_N},neuroncore="0"}}': "0.9x10 0x70 0.9x100",
        },
        62,
        90,
        _NODE,
        name="neuron-on-slurm",
    ),
    Case(
        "AcceleratorsIdle",
        # A job has all GPUs of the node and uses one.
        {
            f"trainforge_slurm_node_gpus_allocated{{{_N}}}": "8x200",
            f'DCGM_FI_DEV_GPU_UTIL{{{_N},gpu="0",hpc_job="7"}}': "100x200",
            **{f'DCGM_FI_DEV_GPU_UTIL{{{_N},gpu="{gpu}",hpc_job="7"}}': _IDLE for gpu in range(1, 8)},
        },
        62,
        105,
        _NODE,
        name="seven-of-eight",
    ),
    Case(
        "AcceleratorsIdle",
        # GPUs that no job has are idle beside those of a pod that works.
        {
            **_pod("nvidia_com_gpu"),
            f'DCGM_FI_DEV_GPU_UTIL{{{_N},gpu="0",pod="p",namespace="team"}}': "100x200",
            **{f'DCGM_FI_DEV_GPU_UTIL{{{_N},gpu="{gpu}"}}': "0x200" for gpu in range(1, 8)},
        },
        None,
        90,
        name="of-nobody",
    ),
    Case(
        "AcceleratorsIdle",
        # A job has one GPU and computes now and then; nobody has the others.
        {
            f"trainforge_slurm_node_gpus_allocated{{{_N}}}": "1x200",
            f"DCGM_FI_DEV_GPU_UTIL{{{_DCGM}}}": "15x200",
            f"DCGM_FI_DEV_GPU_TEMP{{{_DCGM}}}": "40x200",
            **{
                f'DCGM_FI_DEV_GPU_{what}{{{_N},gpu="{gpu}"}}': "0x200"
                for gpu in range(1, 8)
                for what in ("UTIL", "TEMP")
            },
        },
        None,
        90,
        name="one-of-eight",
    ),
    # The node was idle, and its first job downloads its image and data for half an hour.
    Case(
        "AcceleratorsIdle",
        {
            **{series: f"_x50 {values}" for series, values in _pod("nvidia_com_gpu").items()},
            f"DCGM_FI_DEV_GPU_UTIL{{{_DCGM}}}": "0x50 stale",
            f'DCGM_FI_DEV_GPU_UTIL{{{_DCGM},pod="p"}}': "_x51 0x34 90x100",
        },
        None,
        80,
        name="starts-on-kubernetes",
    ),
    Case(
        "AcceleratorsIdle",
        {
            f"trainforge_slurm_node_gpus_allocated{{{_N}}}": "_x50 8x150",
            f"DCGM_FI_DEV_GPU_UTIL{{{_DCGM}}}": "0x85 90x100",
        },
        None,
        80,
        name="starts-on-slurm",
    ),
    Case(
        "AcceleratorsIdle",
        # Steps with a look at the utilization between two of them, now and then.
        {
            f"trainforge_slurm_node_gpus_allocated{{{_N}}}": "1x200",
            f'DCGM_FI_DEV_GPU_UTIL{{{_N},gpu="0",hpc_job="7"}}': " ".join(["90 90 90 0"] * 40),
        },
        None,
        90,
        name="between-steps",
    ),
    Case(
        "AcceleratorsIdle",
        {
            f"trainforge_slurm_node_gpus_allocated{{{_N}}}": "0x200",
            f"DCGM_FI_DEV_GPU_UTIL{{{_DCGM}}}": "0x200",
        },
        None,
        90,
        name="nobody-has-them",
    ),
    # Nothing says which job has a GPU of a host of Batch.
    Case("AcceleratorsIdle", {f"DCGM_FI_DEV_GPU_UTIL{{{_DCGM}}}": _IDLE}, None, 62, name="batch"),
    Case(
        "EfaPacketDrops",
        {f"efa_node_rx_drops_total{{{_N}}}": "0+6000x30 180000x60"},
        25,
        50,
        _NODE,
    ),
    Case(
        "EfaRetransmits",
        {
            f"efa_node_retransmitted_bytes_total{{{_N}}}": "0+600x30 18000x60",
            f"efa_node_tx_bytes_total{{{_N}}}": "0+6000x90",
        },
        25,
        50,
        _NODE,
    ),
    Case(
        "EfaUnresponsiveRemote",
        {f"efa_node_unresponsive_remote_events_total{{{_N}}}": "0x9 3x60"},
        12,
        30,
        _NODE,
    ),
    Case(
        "EfaPortDown",
        {f'efa_inactive_port_state{{{_N},device="d",port="1"}}': "_x5 1x10 stale"},
        10,
        20,
        {**_NODE, "device": "d"},
    ),
    Case("EfaDeviceLost", {f"efa_devices{{{_N}}}": "4x10 3x10 4x20"}, 18, 25, _NODE),
    Case(
        "ExporterDown",
        {f'up{{{_N},job="dcgm",instance="n:1"}}': "1x5 0x20 1x20"},
        20,
        30,
        {**_NODE, "job": "dcgm", "instance": "n:1"},
    ),
    Case(
        "ExporterAbsent",
        {
            f'up{{{_N},job="dcgm",instance="n:1"}}': "1x10 stale _x30 1x30",
            f'up{{{_N},job="node",instance="n:2"}}': "1x80",
            f"trainforge_slurm_node_expected{{{_N}}}": "1x80",
        },
        25,
        50,
        {"cluster": "c", "job": "dcgm"},
    ),
    Case(
        "ExporterAbsent",
        # The right of all nodes to write is gone; the head node has one of its own.
        {
            f'up{{{_N},job="node",instance="n:1"}}': "1x10 stale _x30 1x30",
            f'kube_node_info{{{_N},internal_ip="10.0.0.1"}}': "1x80",
        },
        25,
        50,
        {"cluster": "c", "job": "node"},
        name="all-nodes",
    ),
    Case(
        "ExporterAbsent",
        {'up{cluster="c",node="head",job="slurm",instance="head:1"}': "1x10 stale _x30 1x30"},
        25,
        50,
        {"cluster": "c", "job": "slurm"},
        name="of-the-cluster",
    ),
    Case(
        "ExporterAbsent",
        # It does not come back: the alert stays, for a day.
        {'up{cluster="c",node="head",job="slurm",instance="head:1"}': "1x10 stale"},
        120,
        15,
        {"cluster": "c", "job": "slurm"},
        name="does-not-return",
    ),
    Case(
        "ExporterAbsent",
        # The pool with GPUs is scaled to zero, and nodes without stay.
        {
            f'up{{{_N},job="dcgm",instance="n:1"}}': "1x30 stale _x80",
            f'up{{{_N},job="node",instance="n:2"}}': "1x30 stale _x80",
            'up{cluster="c",node="m",job="node",instance="m:2"}': "1x110",
            f"trainforge_slurm_node_expected{{{_N}}}": "1x30 stale _x80",
            'trainforge_slurm_node_expected{cluster="c",node="m"}': "1x110",
        },
        None,
        60,
        name="scaled-to-zero",
    ),
    *(
        Case(
            alert,
            {'up{cluster="b",cluster_kind="batch",node="n",job="dcgm",instance="n:1"}': "1x30 stale _x80"},
            None,
            minute,
            name="batch",
        )
        for alert, minute in (("ExporterAbsent", 60), ("NodeSilent", 45))
    ),
    Case(
        "NodeSilent",
        {
            f'up{{{_N},job="dcgm",instance="n:1"}}': "1x10 stale _x20 1x30",
            'up{cluster="c",node="m",job="dcgm",instance="m:1"}': "1x80",
            f"trainforge_slurm_node_expected{{{_N}}}": "1x80",
        },
        25,
        40,
        _NODE,
    ),
    Case(
        "NodeSilent",
        # As long as the node is expected.
        {f'up{{{_N},job="node",instance="n:1"}}': "1x10 stale", **_expected("n", "1x100 stale")},
        95,
        110,
        _NODE,
        name="does-not-return",
    ),
    # Its collector never started.
    Case("NodeSilent", _expected("n", "_x5 1x60 stale"), 20, 90, _NODE, name="never-came"),
    Case(
        "NodeSilent",
        {f'up{{{_N},job="node",instance="n:1"}}': "_x13 1x60", **_expected("n", "_x5 1x60")},
        None,
        12,
        name="starts",
    ),
    *(
        Case(
            "GpuMetricsAbsent",
            {
                f'up{{{_N},job="node",instance="n:1"}}': "1x120",
                **seen,
                f"DCGM_FI_DEV_GPU_TEMP{{{_DCGM}}}": "_x60 60x60",
            },
            30,
            70,
            _NODE,
            name=name,
        )
        for name, seen in (
            ("slurm", {f"trainforge_slurm_node_gpus{{{_N}}}": "8x120", **_expected("n", "1x120")}),
            (
                "kubernetes",
                {
                    f'kube_node_status_allocatable{{{_N},resource="nvidia_com_gpu",unit="integer"}}': "8x120",
                    f'kube_node_info{{{_N},internal_ip="10.0.0.1"}}': "1x120",
                },
            ),
            (
                # The exporter answers, and no GPU answers to it.
                "driver-gone",
                {
                    f'up{{{_N},job="dcgm",instance="n:2"}}': "1x120",
                    f"trainforge_slurm_node_gpus{{{_N}}}": "8x120",
                    **_expected("n", "1x120"),
                },
            ),
        )
    ),
    *(
        Case(
            "GpuMetricsAbsent",
            {f"trainforge_slurm_node_gpus{{{_N}}}": "8x120", **_expected("n", "1x120"), **more},
            None,
            60,
            name=name,
        )
        for name, more in (
            # These have alerts of their own.
            ("node-silent", {}),
            (
                "exporter-down",
                {
                    f'up{{{_N},job="node",instance="n:1"}}': "1x120",
                    f'up{{{_N},job="dcgm",instance="n:2"}}': "0x120",
                },
            ),
        )
    ),
    Case(
        "GpuMetricsAbsent",
        {
            f'up{{{_N},job="node",instance="n:1"}}': "1x120",
            f'kube_node_status_allocatable{{{_N},resource="nvidia_com_gpu",unit="integer"}}': "0x120",
            f'kube_node_info{{{_N},internal_ip="10.0.0.1"}}': "1x120",
        },
        None,
        60,
        name="no-gpus",
    ),
    Case("ExporterDown", {f'up{{{_N},job="textfile",instance="n:1"}}': "0x60"}, None, 30, name="twice"),
    Case(
        "NodeSilent",
        {
            f'up{{{_N},job="dcgm",instance="n:1"}}': "1x10 stale _x60",
            f'kube_node_info{{{_N},internal_ip="10.0.0.1"}}': "1x10 stale _x60",
        },
        None,
        25,
        name="scaled-in",
    ),
    Case(
        "SlurmCommandFails",
        {'trainforge_slurm_command_success{cluster="c",node="head",command="squeue"}': "1x5 0x10 1x10"},
        13,
        20,
        {"cluster": "c", "command": "squeue"},
    ),
    Case(
        "KubernetesNodeNotReady",
        {f'kube_node_status_condition{{{_N},condition="Ready",status="true"}}': "1x5 0x10 1x10"},
        13,
        20,
        _NODE,
    ),
    Case("SlurmNodesDown", {'slurm_nodes_down{cluster="c"}': "0x5 1x10 0x10"}, 13, 20, {"cluster": "c"}),
    Case("SlurmNodesDrained", {'slurm_nodes_drain{cluster="c"}': "0x5 2x40 0x20"}, 40, 55, {"cluster": "c"}),
    Case(
        "LocalFileSystemAlmostFull",
        {
            f'node_filesystem_{what}_bytes{{{_N},mountpoint="/",fstype="xfs",device="d"}}': values
            for what, values in (("avail", "50x5 5x20 50x20"), ("size", "100x50"))
        },
        20,
        30,
        {**_NODE, "mountpoint": "/"},
    ),
    *(
        Case(
            alert,
            {
                f'node_filesystem_{what}_bytes{{cluster="c",node="{node}",{_LUSTRE}}}': values
                for node in "nm"
                for what, values in (("avail", f"50x5 {free}x20 50x20"), ("size", "100x50"))
            },
            20,
            30,
            {"cluster": "c", "device": "d"},
        )
        for alert, free in (("SharedFileSystemAlmostFull", 5), ("SharedFileSystemFull", 1))
    ),
    Case(
        "SharedFileSystemFull",
        # Pods mount it, each at a folder of its own: one alert.
        {
            f'node_filesystem_{what}_bytes{{cluster="c",node="n{pod}",fstype="lustre",device="d",'
            f'mountpoint="/var/lib/kubelet/pods/{pod}/volumes/kubernetes.io~csi/p/mount"}}': values
            for pod in range(3)
            for what, values in (("avail", "50x5 1x20 50x20"), ("size", "100x50"))
        },
        20,
        30,
        {"cluster": "c", "device": "d"},
        name="mounts-of-pods",
    ),
    Case(
        "FileSystemReadOnly",
        {f'node_filesystem_readonly{{{_N},mountpoint="/",fstype="xfs",device="d"}}': "0x10 1x10 0x20"},
        15,
        30,
        {**_NODE, "mountpoint": "/"},
    ),
    # A bucket that a pod mounts to read from: below the pod's id, which yesterday had none.
    *(
        Case(
            "FileSystemReadOnly",
            {
                f'node_filesystem_readonly{{{_N},mountpoint="/p",fstype="{kind}",device="mountpoint-s3"}}': "1x30"
            },
            None,
            20,
            name=kind.replace(".", "-"),
        )
        for kind in ("fuse", "fuse.mount-s3")
    ),
    Case("NodeOutOfMemory", {f"node_vmstat_oom_kill{{{_N}}}": "0x9 1x60"}, 12, 40, _NODE),
    # The guard of a limit of 300 s cannot end the run.
    Case("RunStalled", _quiet("0x10 60+60x10 0x20", "300x60"), 17, 30, _OF_RUN, name="guard-hangs"),
    # Before the first line the limit is that of a start.
    Case("RunStalled", _quiet("0+60x40", "1200x40"), 25, 18, _OF_RUN, name="no-first-line"),
    # The guard has ended it at once, and the next start follows between two samples.
    Case(
        "RunStalled",
        {
            **_quiet("0+60x14 0x40", "900x60"),
            f"trainforge_run_stall_timestamp_seconds{{{_RUN}}}": "_x15 895x40",
        },
        16,
        31,
        _OF_RUN,
        name="guard-ends-it",
    ),
    # After an hour in the queue: nothing of the start before counts.
    Case(
        "RunStalled",
        {
            **_quiet("0x15 stale _x60 0 60 120 180 0 60", "900x10 stale _x65 900x20"),
            f"trainforge_progress_timestamp_seconds{{{_RUN}}}": "0x10 stale _x65 0x20",
        },
        None,
        80,
        name="returns-from-the-queue",
    ),
    # A checkpoint has the longer limit.
    Case("RunStalled", _quiet("0+60x18 0x20", "900x5 1200x13 900x20"), None, 18, name="checkpoint"),
    Case(
        "RunNodeSilent",
        {
            f'trainforge_rank_beat_timestamp_seconds{{{_RUN},node="m"}}': "0+60x100",
            f'trainforge_rank_beat_timestamp_seconds{{{_RUN},node="n"}}': "0+60x10 600x20 1920+60x20",
            f"trainforge_run_attempt_timestamp_seconds{{{_RUN}}}": "-60x100",
        },
        20,
        35,
        {**_OF_RUN, "node": "n"},
    ),
    Case(
        "RunNodeSilent",
        {
            # Of the start before: the node has not come yet, for which the guard has a limit.
            f'trainforge_rank_beat_timestamp_seconds{{{_RUN},node="n"}}': "0+60x10 600x40",
            f'trainforge_rank_beat_timestamp_seconds{{{_RUN},node="m"}}': "0+60x10 600x5 960+60x30",
            f"trainforge_run_attempt_timestamp_seconds{{{_RUN}}}": "-60x15 960x40",
        },
        None,
        24,
        name="starts-later",
    ),
    Case(
        "RunNodeSilent",
        # It has ended: its last beat is exported no more.
        {
            f'trainforge_rank_beat_timestamp_seconds{{{_RUN},node="m"}}': "0+60x100",
            f'trainforge_rank_beat_timestamp_seconds{{{_RUN},node="n"}}': "0+60x10 stale",
            f"trainforge_run_attempt_timestamp_seconds{{{_RUN}}}": "-60x100",
        },
        None,
        20,
        name="has-ended",
    ),
    *(
        Case(
            "RunLost",
            {
                f'trainforge_rank_beat_timestamp_seconds{{{_RUN},node="{node}"}}': (
                    "0+60x20 1200x14 2100+60x20"
                )
                for node in nodes
            }
            | {f"trainforge_run_ended{{{_RUN}}}": "0x60"},
            29,
            40,
            _OF_RUN,
            name=f"of-{len(nodes)}",
        )
        for nodes in ("n", "nm")
    ),
    Case(
        "RunLost",
        # Another node found that one was lost, and ended the run.
        {
            f'trainforge_rank_beat_timestamp_seconds{{{_RUN},node="n"}}': "0+60x20 1200x15 stale",
            f'trainforge_rank_beat_timestamp_seconds{{{_RUN},node="m"}}': "0+60x21 stale",
            f"trainforge_run_ended{{{_RUN}}}": "0x21 1x15 stale",
        },
        None,
        29,
        name="ended",
    ),
    # One of its nodes is silent, which has an alert of its own.
    Case(
        "RunLost",
        {
            f'trainforge_rank_beat_timestamp_seconds{{{_RUN},node="m"}}': "0+60x100",
            f'trainforge_rank_beat_timestamp_seconds{{{_RUN},node="n"}}': "0+60x10 600x80",
            f"trainforge_run_ended{{{_RUN}}}": "0x100",
        },
        None,
        25,
        name="one-node",
    ),
    *(
        Case(
            "LossNotFinite",
            {
                f"trainforge_progress_loss{{{_RUN}}}": f"2 2 2 {value} {value} {value} {value} {value} 2 2 2 2 2 2"
            },
            6,
            11,
            _OF_RUN,
            name=value,
        )
        for value in ("NaN", "Inf", "-Inf")
    ),
    Case(
        "RunRestartsOften",
        {f"trainforge_run_starts_total{{{_RUN}}}": "1x9 2 3 4 5 6x100"},
        18,
        90,
        _OF_RUN,
    ),
    Case(
        "GoodputLow",
        {
            f'trainforge_run_seconds_total{{{_RUN},activity="advance"}}': "0+30x120 3660+60x120",
            f'trainforge_run_seconds_total{{{_RUN},activity="wait"}}': "0+30x120 3600x120",
        },
        100,
        200,
        _OF_RUN,
    ),
    *(
        Case(
            "GoodputLow",
            # It starts for twenty minutes, the first time or after a night in the queue.
            {
                f'trainforge_run_seconds_total{{{_RUN},activity="start"}}': f"{before}0+60x20 1200x100",
                f'trainforge_run_seconds_total{{{_RUN},activity="advance"}}': f"{before}0x20 0+60x100",
                f'trainforge_run_seconds_total{{{_RUN},activity="wait"}}': f"{before}{waited}x120",
            },
            None,
            minute,
            name=name,
        )
        for name, before, waited, minutes in (
            ("starts", "", 0, (36, 92)),
            ("returns-from-the-queue", "_x30 ", 40000, (66, 122)),
        )
        for minute in minutes
    ),
    Case(
        "SlowRank",
        {
            f'trainforge_rank_work_seconds{{{_RUN},node="n",rank="{rank}"}}': "2x40 1x40"
            if rank == 3
            else "1x80"
            for rank in range(4)
        },
        30,
        65,
        {**_OF_RUN, "node": "n", "rank": "3"},
    ),
)
