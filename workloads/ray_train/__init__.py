"""The workload ray-train."""
