"""Shared modules of training programs: ranks, signals, checkpoints, random state, metrics.

These modules run on nodes, beside `train.py`: the standard library and torch are all they need, and
`signals`, `metrics` and `errors` do without torch where they are only imported. PYTHONPATH points to the
folder above (`workloads/runtime` here, its copy in an image or in the launch folder).
"""
