"""Workloads, described once and rendered for each scheduler.

This folder is a package of ours and never on sys.path itself: a workload named jax would shadow the real one.
"""
