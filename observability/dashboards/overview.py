"""The dashboards of all clusters together and of one cluster, for Slurm and Kubernetes alike."""

from __future__ import annotations

from typing import Final

from catalog.observability import CAPACITY_NAMESPACE, HOURS_UNTIL_END
from observability.dashboards.model import (
    CLUSTER,
    CLUSTERS,
    GOOD_BELOW_ONE,
    ONE_CLUSTER,
    Board,
    CloudWatchQuery,
    Panel,
    Query,
    Row,
    Variable,
    number,
    query,
)

_READY = f'kube_node_status_condition{{{CLUSTERS},condition="Ready",status="true"}}'
_FIRING = f'ALERTS{{alertstate="firing",{CLUSTERS}}}'
_CRITICAL = f'count(ALERTS{{alertstate="firing",severity="critical",{CLUSTERS}}}) or vector(0)'

FIRING_ALERTS: Final = Panel(
    title="Firing alerts",
    queries=query(f"sum by (severity, alertname, cluster, node, gpu, device, run) ({_FIRING})"),
    about="Alerts that fire now. Each has a page in docs/runbooks.",
    kind="table",
    width=24,
    height=8,
    hidden=("Value",),
    alone="none",
)

_NUMBERS = (
    number(
        "Nodes",
        f'count(count by (cluster, node) (up{{{CLUSTERS},node!=""}})) or vector(0)',
        "Nodes that are scraped.",
    ),
    number(
        "Accelerators",
        f"sum(node:accelerators:count{{{CLUSTERS}}})",
        "GPUs that DCGM sees, and NeuronCores that a runtime has open.",
    ),
    number(
        "Allocated",
        f"sum(node:accelerators_allocated:count{{{CLUSTERS}}}) / sum(node:accelerators:count{{{CLUSTERS}}})",
        "Share of the accelerators that jobs or pods have.",
        unit="percentunit",
    ),
    number(
        "Utilization",
        f"avg(node:accelerator_utilization:avg{{{CLUSTERS}}})",
        "Mean utilization of the nodes' accelerators.",
        unit="percentunit",
    ),
    number(
        "Runs",
        f"count(count by (cluster, run) (trainforge_run_info{{{CLUSTERS}}})) or vector(0)",
        "Runs that wrote lately.",
    ),
    number("Critical alerts", _CRITICAL, "Critical alerts that fire.", steps=GOOD_BELOW_ONE),
)

DEPLOYMENT: Final = Variable(
    name="deployment",
    query=f"dimension_values(default, {CAPACITY_NAMESPACE}, {HOURS_UNTIL_END}, Deployment)",
    label="Deployment",
)
_HOURS_OF_A_BAR: Final = 168

RESERVED_CAPACITY: Final = Panel(
    title="Time until reserved capacity ends",
    queries=(
        CloudWatchQuery(
            metric=HOURS_UNTIL_END,
            statistic="Minimum",
            legend="reservation",
            variable=DEPLOYMENT.name,
            namespace=CAPACITY_NAMESPACE,
            dimension="Deployment",
            each="Reservation",
        ),
    ),
    about=(
        "Of Capacity Blocks, reservations and training plans that pools name, read every 30 minutes. A full bar is a "
        "week or more; a year stands for capacity that ends later or never."
    ),
    kind="bars",
    unit="h",
    width=24,
    height=5,
    minimum=0,
    maximum=_HOURS_OF_A_BAR,
    alone="no reserved capacity",
)

FLEET: Final = Board(
    uid="trainforge-fleet",
    title="Fleet",
    about="All clusters: capacity, use, goodput of runs, alerts.",
    variables=(CLUSTER,),
    cloudwatch=(DEPLOYMENT,),
    rows=(
        Row(title="Now", panels=(*_NUMBERS, FIRING_ALERTS, RESERVED_CAPACITY)),
        Row(
            title="Use",
            panels=(
                Panel(
                    title="Utilization of accelerators",
                    queries=query(
                        f"avg by (cluster) (node:accelerator_utilization:avg{{{CLUSTERS}}})", "{{cluster}}"
                    ),
                    about="Mean over the nodes of each cluster.",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
                Panel(
                    title="Accelerators allocated",
                    queries=query(
                        f"sum by (cluster) (node:accelerators_allocated:count{{{CLUSTERS}}})"
                        f" / sum by (cluster) (node:accelerators:count{{{CLUSTERS}}})",
                        "{{cluster}}",
                    ),
                    about="Share of the accelerators that jobs or pods have. High with a low utilization: they idle.",
                    unit="percentunit",
                    minimum=0,
                ),
                Panel(
                    title="Goodput of runs, last hour",
                    queries=query(f"run:goodput:ratio_rate1h{{{CLUSTERS}}}", "{{cluster}} {{run}}"),
                    about="Share of the time that advanced the model.",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
                Panel(
                    title="Nodes that send metrics",
                    queries=query(
                        f'count by (cluster) (count by (cluster, node) (up{{{CLUSTERS},node!=""}} == 1))',
                        "{{cluster}}",
                    ),
                    about="A step down is a node that was lost or removed.",
                    minimum=0,
                ),
                Panel(
                    title="Power of GPUs",
                    queries=query(f"sum by (cluster) (DCGM_FI_DEV_POWER_USAGE{{{CLUSTERS}}})", "{{cluster}}"),
                    about="Sum over all GPUs. A run that waits draws little.",
                    unit="watt",
                    minimum=0,
                ),
                Panel(
                    title="EFA traffic",
                    queries=query(
                        f"sum by (cluster) (node:efa_tx_bytes:rate5m{{{CLUSTERS}}})", "{{cluster}}"
                    ),
                    about="Bytes that the nodes of a cluster send each second.",
                    unit="Bps",
                    minimum=0,
                ),
            ),
        ),
    ),
)

CLUSTER_BOARD: Final = Board(
    uid="trainforge-cluster",
    title="Cluster",
    about="One cluster: nodes, jobs, what they use and what they have.",
    variables=(ONE_CLUSTER,),
    rows=(
        Row(title="Now", panels=(*_NUMBERS, FIRING_ALERTS)),
        Row(
            title="Jobs and nodes",
            panels=(
                Panel(
                    title="Utilization by job",
                    queries=query(
                        f"bottomk(20, job:accelerator_utilization:avg{{{CLUSTERS}}})", "{{job_id}}"
                    ),
                    about=(
                        "Mean utilization on the nodes of a Slurm job, or of the node of a pod (namespace/pod). "
                        "The twenty lowest: whose job idles accelerators."
                    ),
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
                Panel(
                    title="Nodes with the lowest utilization",
                    queries=query(f"bottomk(12, node:accelerator_utilization:avg{{{CLUSTERS}}})", "{{node}}"),
                    about="Twelve nodes, now. In one run all nodes should be alike.",
                    kind="bars",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
                Panel(
                    title="Accelerators",
                    queries=(
                        Query(expr=f"sum(node:accelerators:count{{{CLUSTERS}}})", legend="present"),
                        Query(
                            expr=f"sum(node:accelerators_allocated:count{{{CLUSTERS}}})", legend="allocated"
                        ),
                    ),
                    about="Present and allocated accelerators.",
                    minimum=0,
                ),
                Panel(
                    title="Nodes by state",
                    queries=(
                        Query(
                            expr=(
                                f"sum({_READY})"
                                f" or sum(slurm_nodes_alloc{{{CLUSTERS}}}) + sum(slurm_nodes_mixed{{{CLUSTERS}}})"
                                f" + sum(slurm_nodes_idle{{{CLUSTERS}}})"
                            ),
                            legend="usable",
                        ),
                        Query(
                            expr=(f"sum({_READY} == bool 0) or sum(slurm_nodes_down{{{CLUSTERS}}})"),
                            legend="not ready or down",
                        ),
                        Query(
                            expr=(
                                f"sum(kube_node_spec_unschedulable{{{CLUSTERS}}})"
                                f" or sum(slurm_nodes_drain{{{CLUSTERS}}})"
                            ),
                            legend="cordoned or drained",
                        ),
                    ),
                    about="As Slurm or Kubernetes sees them.",
                    minimum=0,
                ),
                Panel(
                    title="EFA traffic",
                    queries=(
                        Query(expr=f"sum(node:efa_tx_bytes:rate5m{{{CLUSTERS}}})", legend="sent"),
                        Query(
                            expr=f"sum(rate(efa_node_rx_bytes_total{{{CLUSTERS}}}[$__rate_interval]))",
                            legend="received",
                        ),
                    ),
                    about="Bytes each second over all nodes.",
                    unit="Bps",
                    minimum=0,
                ),
                Panel(
                    title="Free space of shared file systems",
                    queries=query(f"device:shared_space:free_ratio{{{CLUSTERS}}}", "{{device}}"),
                    about="As the nodes see it. Checkpoints fail at 0.",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
                Panel(
                    title="Load",
                    queries=query(f"topk(8, max by (cluster, node) (node_load1{{{CLUSTERS}}}))", "{{node}}"),
                    about="Load average over a minute: the eight busiest nodes. More than the processors: they wait.",
                    minimum=0,
                ),
                Panel(
                    title="Memory",
                    queries=query(f"topk(8, node:memory_used:ratio{{{CLUSTERS}}})", "{{node}}"),
                    about="Share of the memory in use: the eight fullest nodes at each time.",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
                Panel(
                    title="Exporters without answer",
                    queries=query(f"count by (node, job) (up{{{CLUSTERS}}} == 0)"),
                    about="Exporters that the collectors could not scrape the last time.",
                    kind="table",
                    width=24,
                    height=5,
                    hidden=("Value",),
                    alone="none",
                ),
            ),
        ),
    ),
)
