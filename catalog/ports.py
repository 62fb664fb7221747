"""The TCP ports of exporters on nodes, each written once; collectors scrape them within the cluster alone."""

from __future__ import annotations

from typing import Final

NODE_EXPORTER_PORT: Final = 9100
"""Prometheus' node exporter (its README: `--web.listen-address`, default `:9100`)."""

DCGM_EXPORTER_PORT: Final = 9400
"""NVIDIA's dcgm-exporter (its command-line reference: the default listener is `:9400`)."""

NEURON_MONITOR_PORT: Final = 8000
"""The port that we give Neuron monitor's companion neuron-monitor-prometheus.py, as an option.

It is that of AWS's manifest for Kubernetes (aws-neuron/aws-neuron-sdk, src/k8/k8s-neuron-monitor-daemonset.yml, commit
9f6387f); that it is the script's default was not verified.
"""

KUBE_STATE_METRICS_PORT: Final = 8080
"""kube-state-metrics (its README, `--port`)."""

KUEUE_METRICS_PORT: Final = 8443
"""Kueue's controller, over TLS (kubernetes-sigs/kueue, tag v0.19.2, charts/kueue/values.yaml: metrics.bindAddress)."""

EFA_EXPORTER_PORT: Final = 9821
"""Our EFA exporter: our choice, in the range 9100-9999 that Prometheus' wiki reserves for exporters."""

SLURM_EXPORTER_PORT: Final = 9822
"""Our Slurm exporter, on the node of slurmctld: our choice."""

RUNS_EXPORTER_PORT: Final = 9823
"""Our exporter of the runs' metrics, one per cluster: our choice."""

SLURMCTLD_PORT: Final = 6817
"""slurmctld, which serves Slurm's own metrics from 25.11 (Slurm's Metrics Guide: "default 6817")."""

COLLECTOR_PORT: Final = 9824
"""The agent that collects a node's metrics, on the loopback address: our choice."""
