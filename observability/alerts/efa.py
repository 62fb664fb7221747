"""Alerts on EFA: packets that are dropped or sent again, remotes that do not answer, ports and devices that are gone.

No figure for a healthy rate is published. The thresholds are ours: a network that loses nothing has none of these.
Rules read the exporter's sums of a node, and ports that are not active: one series for a node in place of 32.
"""

from __future__ import annotations

from typing import Final

from observability.alerts.rules import Alert, Group, Record, by, place

NODE: Final = ("cluster", "node")
_NODE = by(*NODE)
_ON_NODE = place(cluster="on cluster", node="node")

RECORDS: Final = Group(
    name="efa-recorded",
    rules=(
        Record(
            name="node:efa_tx_bytes:rate5m",
            expr=f"{_NODE} (rate(efa_node_tx_bytes_total[5m]))",
            help="Bytes a second that a node sends over EFA.",
        ),
        Record(
            name="node:efa_rx_drops:rate5m",
            expr=f"{_NODE} (rate(efa_node_rx_drops_total[5m]))",
            help="Packets a second that a node receives over EFA and drops.",
        ),
        Record(
            name="node:efa_retransmits:ratio_rate5m",
            expr=f"{_NODE} (rate(efa_node_retransmitted_bytes_total[5m])) / (node:efa_tx_bytes:rate5m > 0)",
            help="Share of the bytes that a node sends over EFA for a second time.",
        ),
    ),
)

ALERTS: Final = Group(
    name="efa",
    rules=(
        Alert(
            name="EfaPacketDrops",
            expr="node:efa_rx_drops:rate5m > 10",
            severity="warning",
            hold="10m",
            labels=NODE,
            summary=f"EFA drops {{{{ $value | humanize }}}} received packets a second {_ON_NODE}.",
            page="efa-packet-loss",
        ),
        Alert(
            name="EfaRetransmits",
            expr="node:efa_retransmits:ratio_rate5m > 0.01",
            severity="warning",
            hold="10m",
            labels=NODE,
            summary=f"EFA sends {{{{ $value | humanizePercentage }}}} of its bytes again {_ON_NODE}.",
            page="efa-packet-loss",
        ),
        Alert(
            name="EfaUnresponsiveRemote",
            expr=f"{_NODE} (increase(efa_node_unresponsive_remote_events_total[10m]) > 0)",
            severity="warning",
            hold="0s",
            labels=NODE,
            summary=f"A remote node did not answer EFA {_ON_NODE}.",
            page="efa-unresponsive-remote",
        ),
        Alert(
            name="EfaPortDown",
            expr=f"{by('cluster', 'node', 'device')} (efa_inactive_port_state)",
            severity="critical",
            hold="2m",
            labels=("cluster", "node", "device"),
            summary=f"The port is not active (state {{{{ $value }}}}) {_ON_NODE}, device {{{{ $labels.device }}}}.",
            page="efa-device",
        ),
        Alert(
            name="EfaDeviceLost",
            expr=f"{_NODE} (efa_devices) < max_over_time(node:efa_devices:max10m[1d])",
            severity="critical",
            hold="5m",
            labels=NODE,
            summary=f"Only {{{{ $value }}}} EFA devices are left, fewer than in the last day, {_ON_NODE}.",
            page="efa-device",
        ),
    ),
)
