"""Workload nemo-run."""
