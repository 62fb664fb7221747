"""The workload bionemo-esm1nv."""
