"""Health checks of a node: accelerators, links, EFA, memory errors, kernel log, disks; run by `python3 -m health`.

The standard library alone, Python 3.9 or later: the package runs on nodes, in every image, and before jobs.
"""
