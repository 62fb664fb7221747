"""Benchmark of the rules: a real Prometheus evaluates all of them over the series of 100 and of 1,000 nodes.

Its processor time is measured, which other programs of the machine change little: as much as an evaluation of all rules
takes on one core without others.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from observability.alerts import rule_groups
from tests.bench.measure import Measure
from tests.fleet.prometheus import Server, serving, write_blocks
from tests.programs import find_program

NODES, FEW_NODES = 1000, 100
GPUS, EFA_DEVICES = 8, 32
"""Of a node: as many as the largest types of instances with GPUs have."""

_SECONDS_BOUND = 1.0
_GROWTH_BOUND = 1.2
"""Of the number of nodes: series of many nodes fit into no cache, and are sorted."""

_MINUTES = 12
"""Minutes of history: more than the range of every rate over many series."""

_SCRAPE_SECONDS = 30
"""Between two samples, as collectors have it by default."""

_LATE_SECONDS = 60
"""The age of the last samples when Prometheus starts; with the evaluations it stays below Prometheus' look back."""

_INTERVAL_SECONDS = 10
_EVALUATIONS = 5
_NODES_OF_A_RUN = 50
_ITERATIONS = re.compile(r"^prometheus_rule_group_iterations_total\{.*\} (\S+)$", re.MULTILINE)
_HEALTHY = {
    **dict.fromkeys(("up", "node_filesystem_avail_bytes", "node_filesystem_size_bytes"), 1),
    **dict.fromkeys(("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"), 1),
    **dict.fromkeys(
        (
            "kube_pod_status_phase",
            "kube_node_status_condition",
            "kube_node_info",
            "trainforge_rank_work_seconds",
        ),
        1,
    ),
    **dict.fromkeys(("trainforge_slurm_node_gpus_allocated", "kube_pod_container_resource_requests"), GPUS),
    "efa_devices": EFA_DEVICES,
    "DCGM_FI_DEV_GPU_UTIL": 90,
    "DCGM_FI_DEV_GPU_TEMP": 60,
}
"""Values of a fleet without faults; others are 0."""

_GPU_METRICS = (
    *(
        "DCGM_FI_DEV_XID_ERRORS",
        "DCGM_FI_DEV_GPU_TEMP",
        "DCGM_FI_DEV_GPU_UTIL",
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
    ),
    *("DCGM_FI_DEV_ROW_REMAP_FAILURE", "DCGM_FI_DEV_ROW_REMAP_PENDING", "DCGM_FI_DEV_THERMAL_VIOLATION"),
    "DCGM_FI_DEV_POWER_VIOLATION",
)
_EFA_METRICS = (
    *("efa_devices", "efa_node_tx_bytes_total", "efa_node_rx_drops_total"),
    *("efa_node_retransmitted_bytes_total", "efa_node_unresponsive_remote_events_total"),
)
"""Of a node: the EFA exporter adds up its devices. Ports that are not active are the only series of devices."""


@dataclass(frozen=True)
class Nodes:
    """The series of a number of nodes that rules read; half are of a Slurm cluster, half of a Kubernetes one."""

    count: int

    def lines(self, end: float) -> Iterator[str]:
        """Yield OpenMetrics lines with a time, the last at `end`. Values stay: a rate costs the same."""
        times = [f"{end - before:.0f}" for before in range(60 * _MINUTES, -1, -_SCRAPE_SECONDS)]
        for series in self.series():
            value = _HEALTHY.get(series.partition("{")[0], 0)
            yield "".join(f"{series} {value} {time}\n" for time in times)
        yield "# EOF\n"

    def series(self) -> Iterator[str]:
        """Yield each series as Prometheus writes it."""
        for number in range(self.count):
            yield from self.of_node(number)

    @staticmethod
    def of_node(number: int) -> Iterator[str]:
        """Yield each series of a node."""
        slurm = number % 2 == 0
        node = f'cluster="{"slurm" if slurm else "eks"}",node="node-{number}"'
        yield from Nodes._devices(node)
        yield from Nodes._host(node)
        yield from Nodes._jobs(node, number, slurm)

    @staticmethod
    def _devices(node: str) -> Iterator[str]:
        for gpu in range(GPUS):
            inner = f'{{{node},gpu="{gpu}",UUID="GPU-{gpu}",hostname="host"}}'
            yield from (name + inner for name in _GPU_METRICS)
        yield from (f"{name}{{{node}}}" for name in _EFA_METRICS)

    @staticmethod
    def _host(node: str) -> Iterator[str]:
        for job in ("dcgm", "efa", "node"):
            yield f'up{{{node},job="{job}",instance="{job}"}}'
        for name in ("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"):
            yield f"{name}{{{node}}}"
        yield f"node_vmstat_oom_kill{{{node}}}"
        for mountpoint, kind in (("/", "xfs"), ("/scratch", "xfs"), ("/fsx", "lustre")):
            inner = f'{{{node},mountpoint="{mountpoint}",fstype="{kind}",device="d"}}'
            for name in ("avail_bytes", "size_bytes", "readonly"):
                yield f"node_filesystem_{name}{inner}"

    @staticmethod
    def _jobs(node: str, number: int, slurm: bool) -> Iterator[str]:
        run = number // _NODES_OF_A_RUN
        labels = f'{node},run="run-{run}",workload="fsdp"'
        for gpu in range(GPUS):
            yield f'trainforge_rank_work_seconds{{{labels},rank="{number * GPUS + gpu}"}}'
        yield f"trainforge_rank_beat_timestamp_seconds{{{labels}}}"
        if slurm:
            yield f"trainforge_slurm_node_expected{{{node}}}"
            yield f"trainforge_slurm_node_gpus_allocated{{{node}}}"
            yield f'trainforge_slurm_job_node{{{node},job_id="{run}"}}'
        else:
            yield f"kube_node_info{{{node}}}"
            pod = f'cluster="eks",namespace="a",pod="pod-{number}"'
            request = f'{pod},node="node-{number}",resource="nvidia_com_gpu",container="c"'
            yield f"kube_pod_container_resource_requests{{{request}}}"
            yield f'kube_pod_status_phase{{{pod},phase="Running"}}'
            yield f'kube_node_status_condition{{{node},condition="Ready",status="true"}}'


def evaluations() -> Iterator[Measure]:
    """Yield processor seconds of an evaluation of all rules, and how they grow; nothing without Prometheus."""
    programs = [find_program(name) for name in ("prometheus", "promtool")]
    if None in programs:
        print("not measured: rules, prometheus and promtool are not installed", file=sys.stderr)
        return
    prometheus, promtool = (str(program) for program in programs)
    few = _evaluated(FEW_NODES, prometheus, promtool)
    many = _evaluated(NODES, prometheus, promtool)
    series = sum(1 for _ in Nodes(NODES).series())
    where = (
        f"{NODES} nodes, {series / NODES:.0f} series each that rules read; mean of {_EVALUATIONS}; "
        f"the slowest group, which runs beside others, took {many.slowest:.2f} s at best"
    )
    yield Measure("processor time of an evaluation of all rules", many.processor, _SECONDS_BOUND, "s", where)
    yield Measure(
        f"processor time of all rules over {NODES} nodes / over {FEW_NODES}",
        many.processor / few.processor,
        _GROWTH_BOUND * NODES / FEW_NODES,
        "",
        f"{many.processor:.2f} s / {few.processor:.2f} s",
    )


@dataclass(frozen=True)
class Evaluation:
    """Seconds of an evaluation: of the slowest group, which runs beside the others, and of processors for all."""

    slowest: float
    processor: float


def _evaluated(nodes: int, prometheus: str, promtool: str) -> Evaluation:
    """Return the seconds of an evaluation: the best of some for the slowest group, and the mean of processor time."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        end = _written(Nodes(nodes), promtool, folder)
        groups = yaml.safe_load(rule_groups())
        for group in groups["groups"]:
            group["interval"] = f"{_INTERVAL_SECONDS}s"
        rules = folder / "rules.yaml"
        rules.write_text(yaml.safe_dump(groups), encoding="utf-8")
        slowest = []
        with serving(folder, prometheus, end, rules, cores=1) as server:
            # The first evaluations read series from the disk, and see no recorded ones.
            time.sleep(2 * _INTERVAL_SECONDS)
            before = _spent(server)
            for _ in range(_EVALUATIONS):
                time.sleep(_INTERVAL_SECONDS)
                slowest.append(max(group["evaluationTime"] for group in server.get("rules")["groups"]))
            after = _spent(server)
            [seen] = server.instant("count(DCGM_FI_DEV_GPU_TEMP)", at=time.time())
    # Series whose last sample is too old cost nothing.
    assert int(seen["value"][1]) == nodes * GPUS, "the series were too old to be evaluated"
    rounds = (after[1] - before[1]) / len(groups["groups"])
    return Evaluation(min(slowest), (after[0] - before[0]) / rounds)


def _written(series: Nodes, promtool: str, folder: Path) -> float:
    """Write the series into the folder of a Prometheus, and return the time of their last samples, which is now."""
    data = folder / "data"
    taken = 0.0
    while True:
        data.mkdir()
        begun = time.time()
        end = (begun + 1.2 * taken) // _SCRAPE_SECONDS * _SCRAPE_SECONDS
        write_blocks(promtool, series, end, data)
        late = time.time() - end
        if late < _LATE_SECONDS:
            # Prometheus takes no sample that is older than its newest block.
            time.sleep(max(0.0, -late))
            return end
        taken = time.time() - begun
        shutil.rmtree(data)


def _spent(server: Server) -> tuple[float, float]:
    """Return the processor seconds of a Prometheus, and how often it evaluated groups."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    [seconds] = re.findall(r"^process_cpu_seconds_total (\S+)$", text, re.MULTILINE)
    return float(seconds), sum(map(float, _ITERATIONS.findall(text)))
