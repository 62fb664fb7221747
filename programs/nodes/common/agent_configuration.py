"""The configuration of the agent that collects a node's metrics: whom it scrapes, and where it sends the samples.

The agent is Prometheus in agent mode: it signs requests for Amazon Managed Prometheus by itself, keeps samples on disk
while the service cannot be reached, and reads the same scrape configuration as any Prometheus. JSON is YAML too, and
Python on a node has no module for YAML.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# One node has a few thousand samples per scrape, which one or two shards send in a second.
_QUEUE = {"capacity": 5000, "max_samples_per_send": 1000, "max_shards": 10}


@dataclass(frozen=True)
class Target:
    """An exporter of this node: the name of its job and its port.

    With `own_node_label` its series have the label `node` of their own. If it `moves`, the runs of its series may start
    on another node again: the series do not name the node that exported them, so that they continue. `parameters` are
    those of the request. With `keep` only metrics whose whole name this pattern matches are taken, without those that
    `drop` matches.
    """

    job: str
    port: int
    path: str = "/metrics"
    own_node_label: bool = False
    moves: bool = False
    parameters: tuple[tuple[str, str], ...] = ()
    keep: str = ""
    drop: str = ""


@dataclass(frozen=True)
class Destination:
    """The address that takes samples, and the region that requests are signed for; empty: they are not signed."""

    url: str
    region: str = ""


def agent_configuration(
    targets: Sequence[Target],
    destination: Destination,
    *,
    cluster: str,
    cluster_kind: str,
    node: str,
    scrape_seconds: int,
    series_limit: int,
) -> str:
    """Return the text of the file. Pure.

    Every sample has the labels `cluster`, `cluster_kind`, `node`, `job` and `instance`, the node's name with the port:
    the address is that of the loopback device on each node. An exporter of this node with more than
    `series_limit` series is refused as a whole.
    """
    configuration = {
        "global": {
            "scrape_interval": f"{scrape_seconds}s",
            "scrape_timeout": f"{min(scrape_seconds, 10)}s",
            "external_labels": {"cluster": cluster, "cluster_kind": cluster_kind},
        },
        "scrape_configs": [_scrape(target, node, series_limit) for target in targets],
        "remote_write": [
            {
                "url": destination.url,
                "queue_config": _QUEUE,
                **({"sigv4": {"region": destination.region}} if destination.region else {}),
            }
        ],
    }
    return json.dumps(configuration, indent=1) + "\n"


def _scrape(target: Target, node: str, series_limit: int) -> dict[str, Any]:
    rules: list[dict[str, Any]] = [
        {"source_labels": ["__name__"], "regex": regex, "action": action}
        for action, regex in (("keep", target.keep), ("drop", target.drop))
        if regex
    ]
    if target.moves:
        rules += _without_exporter(target.job)
    return {
        "job_name": target.job,
        "metrics_path": target.path,
        **({"params": {name: [value] for name, value in target.parameters}} if target.parameters else {}),
        "honor_labels": target.own_node_label,
        # 0 is no limit: an exporter of a whole cluster bounds its series itself.
        "sample_limit": 0 if target.own_node_label else series_limit,
        "static_configs": [
            {
                "targets": [f"127.0.0.1:{target.port}"],
                "labels": {"instance": f"{node}:{target.port}", "node": node},
            }
        ],
        **({"metric_relabel_configs": rules} if rules else {}),
    }


def _without_exporter(job: str) -> list[dict[str, Any]]:
    """Return the rules that take the exporting node from series of runs; those of ranks keep the rank's own node."""
    return [
        {
            "source_labels": ["__name__"],
            "regex": f"trainforge_({names})_.*",
            "target_label": label,
            "replacement": replacement,
        }
        for names, label, replacement in (
            ("progress|rank|run", "instance", job),
            ("progress|run", "node", ""),
        )
    ]
