"""Workload torchtitan."""
