"""The configuration of a Kubernetes cluster's collector: which pods it scrapes, and the labels of their samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

_AUTHORIZED: Final = {
    "scheme": "https",
    "bearer_token_file": "/var/run/secrets/kubernetes.io/serviceaccount/token",
    # The controller signs its certificate itself.
    "tls_config": {"insecure_skip_verify": True},
}
"""A scrape with the collector's own token, as AWS's sample configuration has it for the API server (Amazon Managed
Prometheus guide, "Scraper configuration")."""


@dataclass(frozen=True, slots=True)
class ExporterPods:
    """Pods of an exporter: the name of their job, a label that they have, and the container port that answers.

    With `namespace` only pods there. With `own_node_label` its series have the label `node` of their own, or none. One
    that is `authorized` answers over TLS to those who may read `/metrics`, and gets the collector's token. `keeps` are
    the names of its metrics that are stored; empty: all.

    Raises:
        ValueError: the token would go to any pod with the label.
    """

    job: str
    label: str
    value: str
    port: int
    namespace: str = ""
    own_node_label: bool = False
    authorized: bool = False
    keeps: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse to send the token to pods of any namespace."""
        if self.authorized and not self.namespace:
            raise ValueError(f"exporter '{self.job}': 'authorized' needs the 'namespace' of its pods")


def scrape_configuration(
    exporters: Sequence[ExporterPods],
    *,
    cluster: str,
    cluster_kind: str,
    scrape_seconds: int,
    series_limit: int,
) -> str:
    """Return a configuration of Prometheus, which Amazon Managed Prometheus' collector reads (its guide, "Scraper
    configuration").

    Every sample has the labels `cluster`, `cluster_kind`, `job`, `instance` and `node`, as on Slurm nodes.
    """
    configuration = {
        "global": {
            "scrape_interval": f"{scrape_seconds}s",
            "scrape_timeout": f"{min(scrape_seconds, 10)}s",
            "external_labels": {"cluster": cluster, "cluster_kind": cluster_kind},
        },
        "scrape_configs": [_scrape(one, series_limit) for one in exporters],
    }
    return yaml.safe_dump(configuration, sort_keys=False, width=10**6)


def _scrape(exporter: ExporterPods, series_limit: int) -> dict[str, Any]:
    label = exporter.label.translate(str.maketrans("./-", "___"))
    keep = [
        # A pod that ended keeps its address for a while, and answers no more.
        {
            "source_labels": ["__meta_kubernetes_pod_phase"],
            "regex": "Failed|Succeeded",
            "action": "drop",
        },
        {
            "source_labels": [f"__meta_kubernetes_pod_label_{label}"],
            "regex": exporter.value,
            "action": "keep",
        },
        {
            "source_labels": ["__meta_kubernetes_pod_container_port_number"],
            "regex": str(exporter.port),
            "action": "keep",
        },
    ]
    if exporter.namespace:
        keep.append(
            {
                "source_labels": ["__meta_kubernetes_namespace"],
                "regex": exporter.namespace,
                "action": "keep",
            }
        )
    name = {"source_labels": ["__meta_kubernetes_pod_node_name"], "target_label": "node"}
    return {
        "job_name": exporter.job,
        **(_AUTHORIZED if exporter.authorized else {}),
        "honor_labels": exporter.own_node_label,
        # 0 is no limit: the state of a large cluster has many series, all of them of one exporter.
        "sample_limit": 0 if exporter.own_node_label else series_limit,
        "kubernetes_sd_configs": [{"role": "pod"}],
        # An exporter of Kubernetes' state has series of other nodes than the one that it runs on.
        "relabel_configs": keep if exporter.own_node_label else [*keep, name],
        **({"metric_relabel_configs": [_kept(exporter.keeps)]} if exporter.keeps else {}),
    }


def _kept(names: Sequence[str]) -> dict[str, Any]:
    return {"source_labels": ["__name__"], "regex": "|".join(sorted(names)), "action": "keep"}
