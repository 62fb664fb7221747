"""The workload node-pairs."""
