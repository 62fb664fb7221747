"""The dashboards of queues: Slurm's, and those of Kubernetes with Kueue."""

from __future__ import annotations

from typing import Final

from observability.dashboards.model import (
    CLUSTER,
    CLUSTERS,
    GOOD_BELOW_ONE,
    Board,
    Panel,
    Query,
    Row,
    number,
    query,
)

_ACCELERATORS = 'resource=~"nvidia.com/gpu|aws.amazon.com/neuron.*"'
_ACCELERATORS_OF_PODS = 'resource=~"nvidia_com_gpu|aws_amazon_com_neuron.*"'


def _max(metric: str) -> str:
    """Return the sum over clusters of a metric that more than one scrape may give."""
    return f"sum(max by (cluster) ({metric}{{{CLUSTERS}}}))"


def _states(prefix: str, states: tuple[tuple[str, str], ...]) -> tuple[Query, ...]:
    return tuple(Query(expr=_max(f"{prefix}_{state}"), legend=legend) for state, legend in states)


SLURM: Final = Board(
    uid="trainforge-slurm",
    title="Slurm queue",
    about="Jobs, nodes and the scheduler of Slurm clusters.",
    variables=(CLUSTER,),
    rows=(
        Row(
            title="Now",
            panels=(
                number("Running jobs", _max("slurm_jobs_running"), "Jobs that run."),
                number("Pending jobs", _max("slurm_jobs_pending"), "Jobs that wait, those on hold included."),
                number(
                    "Oldest pending",
                    f"max(trainforge_slurm_oldest_pending_seconds{{{CLUSTERS}}})",
                    "Time since the submission of the oldest job that waits and is not held.",
                    unit="s",
                ),
                number(
                    "GPUs allocated",
                    f"{_max('trainforge_slurm_gpus_allocated')} / {_max('trainforge_slurm_gpus')}",
                    "Share of all GPUs that jobs have.",
                    unit="percentunit",
                ),
                number(
                    "GPUs unavailable",
                    _max("trainforge_slurm_gpus_unavailable"),
                    "GPUs of nodes that are down, drained or silent, without a job.",
                    steps=GOOD_BELOW_ONE,
                ),
                number(
                    "Nodes down", _max("slurm_nodes_down"), "Nodes that Slurm lost.", steps=GOOD_BELOW_ONE
                ),
            ),
        ),
        Row(
            title="Jobs",
            panels=(
                Panel(
                    title="Jobs by state",
                    queries=_states(
                        "slurm_jobs",
                        (("running", "running"), ("pending", "pending"), ("hold", "of these on hold")),
                    ),
                    about="Pending jobs include those on hold.",
                    minimum=0,
                ),
                Panel(
                    title="Pending jobs by partition",
                    queries=query(
                        f"max by (cluster, partition) (slurm_partition_jobs_pending{{{CLUSTERS}}})",
                        "{{cluster}} {{partition}}",
                    ),
                    about="Jobs that wait in each partition.",
                    minimum=0,
                ),
                Panel(
                    title="Running jobs",
                    queries=query(
                        f"max by (cluster, job_id) (trainforge_slurm_job_gpus{{{CLUSTERS}}})"
                        " * on (cluster, job_id) group_left (username, partition, name)"
                        " max by (cluster, job_id, username, partition, name)"
                        f" (trainforge_slurm_job_info{{{CLUSTERS}}})"
                    ),
                    about="Jobs and their GPUs. The exporter bounds their number: the oldest first.",
                    kind="table",
                    width=24,
                    alone="none",
                ),
            ),
        ),
        Row(
            title="Nodes",
            panels=(
                Panel(
                    title="Nodes by state",
                    queries=_states(
                        "slurm_nodes",
                        (
                            ("alloc", "allocated"),
                            ("mixed", "partly allocated"),
                            ("idle", "idle"),
                            ("down", "down"),
                        ),
                    ),
                    about="States exclude each other. The flag drain comes on top of a state.",
                    stacked=True,
                    minimum=0,
                ),
                Panel(
                    title="Nodes that take no jobs",
                    queries=_states(
                        "slurm_nodes",
                        (("drain", "drained"), ("noresp", "not responding"), ("maint", "in maintenance")),
                    ),
                    about="Flags of nodes.",
                    minimum=0,
                ),
                Panel(
                    title="GPUs",
                    queries=(
                        Query(expr=_max("trainforge_slurm_gpus"), legend="all"),
                        Query(expr=_max("trainforge_slurm_gpus_allocated"), legend="allocated"),
                    ),
                    about="GPUs of all nodes, and those that jobs have.",
                    minimum=0,
                ),
                Panel(
                    title="Scheduling queue",
                    queries=(
                        Query(expr=_max("slurm_schedule_queue_len"), legend="main scheduler"),
                        Query(expr=_max("slurm_bf_queue_len"), legend="backfill"),
                    ),
                    about="Jobs that the last cycle of each scheduler looked at.",
                    minimum=0,
                ),
            ),
        ),
    ),
)

KUBERNETES: Final = Board(
    uid="trainforge-kubernetes",
    title="Kubernetes queues",
    about="Queues of Kueue, pods and nodes of EKS clusters.",
    variables=(CLUSTER,),
    rows=(
        Row(
            title="Now",
            panels=(
                number(
                    "Nodes ready",
                    f'sum(kube_node_status_condition{{{CLUSTERS},condition="Ready",status="true"}})',
                    "Nodes on which pods can start.",
                ),
                number(
                    "Not ready",
                    f'sum(kube_node_status_condition{{{CLUSTERS},condition="Ready",status="true"}} == bool 0)',
                    "Nodes whose kubelet is silent or says no.",
                    steps=GOOD_BELOW_ONE,
                ),
                number(
                    "Cordoned",
                    f"sum(kube_node_spec_unschedulable{{{CLUSTERS}}})",
                    "Nodes that take no new pods.",
                ),
                number(
                    "Workloads admitted",
                    f"sum(kueue_admitted_active_workloads{{{CLUSTERS}}})",
                    "Workloads with quota that have not ended.",
                ),
                number(
                    "Workloads pending",
                    f"sum(kueue_pending_workloads{{{CLUSTERS}}})",
                    "Workloads that wait for quota.",
                ),
                number(
                    "Pods pending",
                    f'sum(kube_pod_status_phase{{{CLUSTERS},phase="Pending"}})',
                    "Pods that are not placed or whose image is not there.",
                ),
            ),
        ),
        Row(
            title="Queues",
            panels=(
                Panel(
                    title="Pending workloads",
                    queries=query(
                        f"sum by (cluster, cluster_queue, status) (kueue_pending_workloads{{{CLUSTERS}}})",
                        "{{cluster_queue}} {{status}}",
                    ),
                    about="Inadmissible: not before the cluster or the quota changes.",
                    minimum=0,
                ),
                Panel(
                    title="Admitted workloads",
                    queries=query(
                        f"sum by (cluster, cluster_queue) (kueue_admitted_active_workloads{{{CLUSTERS}}})",
                        "{{cluster_queue}}",
                    ),
                    about="Workloads that hold quota and have not ended.",
                    minimum=0,
                ),
                Panel(
                    title="Use of the quota of accelerators",
                    queries=query(
                        "sum by (cluster, cluster_queue, resource) (kueue_cluster_queue_resource_usage"
                        f"{{{CLUSTERS},{_ACCELERATORS}}}) / sum by (cluster, cluster_queue, resource)"
                        f" (kueue_cluster_queue_nominal_quota{{{CLUSTERS},{_ACCELERATORS}}})",
                        "{{cluster_queue}} {{resource}}",
                    ),
                    about="More than 100 %: it borrows from its cohort. The stack has Kueue export it.",
                    unit="percentunit",
                    minimum=0,
                ),
                Panel(
                    title="Time to admission, 90th percentile",
                    queries=query(
                        "histogram_quantile(0.9, sum by (cluster, cluster_queue, le) (rate("
                        f"kueue_admission_wait_time_seconds_bucket{{{CLUSTERS}}}[1h])))",
                        "{{cluster_queue}}",
                    ),
                    about="Of the workloads that were admitted in the last hour.",
                    unit="s",
                    minimum=0,
                ),
                Panel(
                    title="Evictions",
                    queries=query(
                        "sum by (cluster, cluster_queue, reason) (increase(kueue_evicted_workloads_total"
                        f"{{{CLUSTERS}}}[1h]))",
                        "{{cluster_queue}} {{reason}}",
                    ),
                    about="Workloads that lost their quota within an hour, by reason.",
                    minimum=0,
                ),
                Panel(
                    title="Accelerators by namespace",
                    queries=query(
                        "sum by (cluster, namespace, resource) (kube_pod_container_resource_requests"
                        f"{{{CLUSTERS},{_ACCELERATORS_OF_PODS}}} and on (cluster, namespace, pod)"
                        f' (kube_pod_status_phase{{{CLUSTERS},phase="Running"}} == 1))',
                        "{{namespace}} {{resource}}",
                    ),
                    about="Accelerators that running pods request.",
                    stacked=True,
                    minimum=0,
                ),
                Panel(
                    title="Restarts of containers",
                    queries=query(
                        "topk(10, round(sum by (cluster, namespace, pod) (increase("
                        f"kube_pod_container_status_restarts_total{{{CLUSTERS}}}[1h]))) > 0)"
                    ),
                    about="Pods whose containers restarted within the last hour.",
                    kind="table",
                    width=24,
                    height=6,
                    alone="none",
                ),
            ),
        ),
    ),
)
