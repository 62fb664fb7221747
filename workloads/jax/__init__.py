"""Workload jax."""
