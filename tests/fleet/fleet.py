"""The fleet of the dashboards' pictures and tests: a Slurm and a Kubernetes cluster, GPUs and Trainium, with faults.

- `hyperpod` (Slurm): four nodes of eight GPUs train `llama3-70b`. At minute 100 a GPU of gpu-3 reports Xid 48, the run
  hangs, is ended, starts again and repeats steps; a GPU of gpu-2 is hot; /fsx is almost full.
- `eks` (Kubernetes): three nodes of eight GPUs train `mixtral`, whose loss is no number at the end; one of them loses
  packets and is slow. A pod has two Trainium nodes and uses neither.
"""

from __future__ import annotations

import math
import tempfile
from functools import lru_cache
from pathlib import Path

from tests.fleet.nodes import GPUS, RESOURCES, Faults, Node, add_node
from tests.fleet.runs import Plan, told
from tests.fleet.series import Curve, Series, between, noise

MINUTES = 191
"""Ten more than the pages show, so that rates are whole from their first minute on."""

_RESTART, _BACK = 100, 111
SLURM, KUBERNETES = "hyperpod", "eks"
_TRAINS = between(_RESTART, _BACK, 0.0, noise("trains", 0.93))
_FAULTS = Faults(
    xid={("gpu-3", 5): (48, _RESTART), ("ip-10-1-0-12", 2): (31, 160)},
    hot=frozenset({("gpu-2", 1)}),
    lossy=frozenset({"ip-10-1-0-13"}),
    silent=frozenset({("ip-10-1-0-22", "efa")}),
)
NODES = (
    *(Node(SLURM, "hyperpod", f"gpu-{number}", "gpu", _TRAINS) for number in range(1, 5)),
    *(Node(KUBERNETES, "eks", f"ip-10-1-0-{number}", "gpu", noise("other", 0.81)) for number in (11, 12, 13)),
    *(Node(KUBERNETES, "eks", f"ip-10-1-0-{number}", "neuron", lambda _: 0.004) for number in (21, 22)),
)


@lru_cache
def fleet(minutes: int = MINUTES) -> Series:
    """Return all series of the fleet; nobody changes them."""
    series = Series(minutes)
    for node in NODES:
        add_node(series, node, _FAULTS)
    _slurm(series)
    _kubernetes(series)
    _add_runs(series)
    return series


def _slurm(series: Series) -> None:
    labels = {"cluster": SLURM, "cluster_kind": "hyperpod", "job": "slurm", "instance": "head:9822"}
    down = between(_RESTART, _BACK, 1.0)
    waiting: Curve = lambda minute: 6 + 2.4 * math.sin(minute / 23)  # noqa: E731 - a curve among others
    for name, value in {
        "slurm_jobs": 12,
        "slurm_jobs_running": between(_RESTART, _BACK, 1, 2),
        "slurm_jobs_pending": lambda minute: round(waiting(minute)),
        "slurm_jobs_hold": 1,
        "slurm_nodes": 4,
        "slurm_nodes_alloc": lambda minute: 4 - 4 * down(minute),
        "slurm_nodes_mixed": 0,
        "slurm_nodes_idle": lambda minute: 3 * down(minute),
        "slurm_nodes_down": down,
        "slurm_nodes_drain": down,
        "slurm_nodes_noresp": 0,
        "slurm_nodes_maint": 0,
        "slurm_schedule_queue_len": lambda minute: round(waiting(minute)),
        "slurm_bf_queue_len": lambda minute: round(waiting(minute)) - 1,
        "trainforge_slurm_gpus": 4 * GPUS,
        "trainforge_slurm_gpus_allocated": lambda minute: 4 * GPUS * (1 - down(minute)),
        "trainforge_slurm_gpus_unavailable": lambda minute: GPUS * down(minute),
    }.items():
        series.add(name, labels, value)
    series.add("up", {**labels, "node": "head"}, 1)
    for partition, pending in (("gpu", 4), ("cpu", 2)):
        series.add("slurm_partition_jobs_pending", {**labels, "partition": partition}, pending)
        series.add(
            "trainforge_slurm_oldest_pending_seconds",
            {**labels, "partition": partition},
            lambda minute: 600 + 60.0 * minute,
        )
    for command in ("squeue", "sinfo", "sdiag"):
        series.add("trainforge_slurm_command_success", {**labels, "command": command}, 1)
    for job, nodes, name in (("4711", (1, 2, 3, 4), "llama3-70b"), ("4712", (4,), "notebook")):
        info = {**labels, "job_id": job, "username": "ana", "partition": "gpu", "name": name}
        series.add("trainforge_slurm_job_info", info, 1)
        series.add("trainforge_slurm_job_gpus", {**labels, "job_id": job}, len(nodes) * GPUS)
        for number in nodes:
            series.add("trainforge_slurm_job_node", {**labels, "job_id": job, "node": f"gpu-{number}"}, 1)
    for number in range(1, 5):
        node = {**labels, "node": f"gpu-{number}"}
        series.add("trainforge_slurm_node_expected", node, 1)
        series.add("trainforge_slurm_node_gpus", node, GPUS)
        series.add("trainforge_slurm_node_gpus_allocated", node, lambda minute: GPUS * (1 - down(minute)))


def _kubernetes(series: Series) -> None:
    shared = {"cluster": KUBERNETES, "cluster_kind": "eks"}
    labels = {**shared, "job": "kube-state-metrics", "instance": "ksm:8080"}
    kueue = {**shared, "job": "kueue", "instance": "kueue:8443", "replica_role": "leader"}
    for node in (node for node in NODES if node.cluster == KUBERNETES):
        series.add(
            "kube_node_spec_unschedulable", {**labels, "node": node.name}, float(node.name.endswith("22"))
        )
        for status in ("true", "false", "unknown"):
            series.add(
                "kube_node_status_condition",
                {**labels, "node": node.name, "condition": "Ready", "status": status},
                float(status == "true"),
            )
        namespace = "research" if node.accelerator == "gpu" else "team-b"
        pod = {**labels, "namespace": namespace, "pod": f"worker-{node.name[-2:]}", "uid": node.name}
        resource = {"resource": RESOURCES[node.accelerator], "unit": "integer", "container": "trainer"}
        series.add("kube_pod_container_resource_requests", {**pod, **resource, "node": node.name}, 8)
        for phase in ("Pending", "Running", "Failed"):
            series.add("kube_pod_status_phase", {**pod, "phase": phase}, float(phase == "Running"))
        series.count(
            "kube_pod_container_status_restarts_total",
            {**pod, "container": "trainer"},
            between(150, 151, 1.0) if node.name.endswith("13") else 0.0,
        )
    series.add("up", {**labels, "node": ""}, 1)
    for queue, pending, resource in (
        ("research", 3, "nvidia.com/gpu"),
        ("team-b", 1, "aws.amazon.com/neuron"),
    ):
        place = {**kueue, "cluster_queue": queue}
        for status, value in (("active", pending), ("inadmissible", 0)):
            series.add(
                "kueue_pending_workloads", {**place, "status": status}, between(70, 130, value + 2, value)
            )
        series.add(
            "kueue_admitted_active_workloads", place, between(60, 70, 0, 2 if queue == "research" else 1)
        )
        quota = {**place, "cohort": "all", "flavor": "default", "resource": resource}
        series.add("kueue_cluster_queue_nominal_quota", quota, 24)
        series.add("kueue_cluster_queue_resource_usage", quota, 24 if queue == "research" else 16)
        series.count("kueue_evicted_workloads_total", {**place, "reason": "Preempted"}, between(60, 62, 1.0))
        for bound, share in (("60", 0.2), ("300", 0.7), ("1800", 0.95), ("+Inf", 1.0)):
            series.count(
                "kueue_admission_wait_time_seconds_bucket",
                {**place, "priority_class": "", "le": bound},
                noise(queue, 0.5 * share, 0.0),
            )


def runs() -> list[Plan]:
    """Return the runs: `llama3-70b-1`, which restarts, and `mixtral-7` with a slow node and a loss that is NaN."""
    slurm, kubernetes = (
        [node.name for node in NODES if node.cluster == name and node.accelerator == "gpu"]
        for name in (SLURM, KUBERNETES)
    )
    return [
        _run(SLURM, "llama3-70b-1", "4711", slurm, tokens=410_000, hangs=_RESTART, back=_BACK),
        _run(KUBERNETES, "mixtral-7", "", kubernetes, tokens=260_000, spoilt=MINUTES - 4, late=1.27),
    ]


def _run(
    cluster: str,
    run: str,
    job: str,
    nodes: list[str],
    *,
    tokens: float,
    spoilt: int = 2 * MINUTES,
    late: float = 1.0,
    hangs: int | None = None,
    back: int = 0,
) -> Plan:
    """Return a run whose loss is no number from minute `spoilt` on, and whose last node takes `late` times as long."""
    rate, steps = noise(run, tokens), noise(f"{run}s", 10)
    factors = [late if node == nodes[-1] else 1.0 for node in nodes]
    work = [noise(f"{run}{node}", 3.1 * factor, 0.02) for node, factor in zip(nodes, factors, strict=True)]

    def metrics(minute: int) -> dict[str, float]:
        loss = 2.1 + 4 * math.exp(-minute / 45) + 0.02 * math.sin(minute * 1.7)
        return {
            "loss": loss if minute < spoilt else math.nan,
            "tokens_per_second": rate(minute),
            "seconds_per_step": steps(minute),
            "mfu": 0.4 * rate(minute) / tokens,
            "gradient_norm": 0.4 + 0.05 * math.sin(minute) + 3.0 * (minute >= spoilt - 16),
        }

    return Plan(
        cluster=cluster,
        workload="fsdp",
        run=run,
        job=job,
        nodes=nodes,
        ranks=GPUS,
        metrics=metrics,
        saves=lambda minute: 8.0 if minute % 15 == 0 else 0.5,
        # All ranks wait for the slowest.
        step_seconds=lambda minute, _: steps(minute),
        work=lambda minute, node: work[node](minute),
        hangs=hangs,
        back=back,
    )


def _add_runs(series: Series) -> None:
    """Add what the exporter of each cluster tells of its runs."""
    with tempfile.TemporaryDirectory() as folder:
        for minute, cluster, name, labels, value in told(runs(), Path(folder), series.minutes):
            shared = {"cluster": cluster, "cluster_kind": cluster, "job": "runs", "instance": "runs:9823"}
            series.observe(minute, name, {**shared, **labels}, value)
