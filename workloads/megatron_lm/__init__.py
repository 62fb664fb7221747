"""Workload megatron-lm."""
