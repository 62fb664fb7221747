"""Exporters of metrics for Prometheus: EFA devices of a node, a Slurm cluster, the runs of a cluster."""
