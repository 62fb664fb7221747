"""The workload cpu-ddp: data-parallel training on processors, the cheapest way to see everything work."""
