"""The dashboard of EFA: traffic, loss, errors, states of ports."""

from __future__ import annotations

from typing import Final

from observability.dashboards.model import CLUSTER, NODES, ON_NODES, Board, Panel, Query, Row, query

_NODE = "{{cluster}} {{node}}"


def _rate(metric: str) -> str:
    return f"sum by (cluster, node) (rate({metric}{{{ON_NODES}}}[$__rate_interval]))"


def _most(title: str, expr: str, about: str, unit: str = "cps") -> Panel:
    return Panel(title=title, queries=query(f"topk(10, {expr})", _NODE), about=about, unit=unit, minimum=0)


EFA: Final = Board(
    uid="trainforge-efa",
    title="EFA",
    about="Traffic, loss and errors of Elastic Fabric Adapters.",
    variables=(CLUSTER, NODES),
    rows=(
        Row(
            title="Traffic",
            panels=(
                _most(
                    "Sent", f"node:efa_tx_bytes:rate5m{{{ON_NODES}}}", "The ten nodes that send most.", "Bps"
                ),
                _most(
                    "Received",
                    _rate("efa_node_rx_bytes_total"),
                    "The ten nodes that receive most.",
                    "Bps",
                ),
                Panel(
                    title="Kinds of traffic",
                    queries=tuple(
                        Query(expr=f"sum(rate({metric}{{{ON_NODES}}}[$__rate_interval]))", legend=legend)
                        for metric, legend in (
                            ("efa_node_rdma_write_bytes_total", "RDMA writes"),
                            ("efa_node_rdma_read_bytes_total", "RDMA reads"),
                            ("efa_node_send_bytes_total", "sends"),
                        )
                    ),
                    about="Bytes by kind of work request. NCCL with RDMA writes has few sends.",
                    unit="Bps",
                    minimum=0,
                ),
                Panel(
                    title="Traffic by device",
                    queries=query(
                        "topk(16, sum by (cluster, node, device) (rate(efa_port_tx_bytes_total"
                        f"{{{ON_NODES}}}[$__rate_interval])))",
                        "{{node}} {{device}}",
                    ),
                    about="Sent bytes of the sixteen busiest devices. Select one node: its devices should be alike.",
                    unit="Bps",
                    minimum=0,
                ),
            ),
        ),
        Row(
            title="Loss",
            panels=(
                _most(
                    "Dropped packets",
                    f"node:efa_rx_drops:rate5m{{{ON_NODES}}}",
                    "Received packets that a node drops.",
                ),
                _most(
                    "Share of bytes sent again",
                    f"node:efa_retransmits:ratio_rate5m{{{ON_NODES}}}",
                    "Retransmitted bytes among all that a node sends.",
                    "percentunit",
                ),
                _most(
                    "Timeouts",
                    _rate("efa_node_retransmit_timeouts_total"),
                    "Timeouts after which packets are sent again.",
                ),
                _most(
                    "Remotes that do not answer",
                    _rate("efa_node_unresponsive_remote_events_total"),
                    "Events on the node that notices it.",
                ),
            ),
        ),
        Row(
            title="Devices",
            panels=(
                Panel(
                    title="Failed work requests",
                    queries=(
                        Query(
                            expr=f"topk(5, {_rate('efa_node_rdma_write_work_request_errors_total')})",
                            legend=f"writes {_NODE}",
                        ),
                        Query(
                            expr=f"topk(5, {_rate('efa_node_rdma_read_work_request_errors_total')})",
                            legend=f"reads {_NODE}",
                        ),
                    ),
                    about="RDMA requests that ended with an error.",
                    unit="cps",
                    minimum=0,
                ),
                Panel(
                    title="Ports that are not active",
                    queries=query(f"max by (cluster, node, device) (efa_inactive_port_state{{{ON_NODES}}})"),
                    about="1 down, 2 initializing, 3 armed.",
                    kind="table",
                    alone="none",
                ),
                Panel(
                    title="Devices of each node",
                    queries=query(f"bottomk(12, max by (cluster, node) (efa_devices{{{ON_NODES}}}))", _NODE),
                    about="The twelve nodes with the fewest.",
                    kind="bars",
                    minimum=0,
                ),
                _most(
                    "Failed commands",
                    _rate("efa_node_command_errors_total"),
                    "Commands that a device refused.",
                ),
            ),
        ),
    ),
)
