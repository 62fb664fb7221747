"""The workload gpu-health."""
