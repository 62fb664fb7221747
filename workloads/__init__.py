"""What runs: workloads described once, rendered for each scheduler.

This folder is a package of ours and never on sys.path itself: a room named jax would shadow the real one.
"""
