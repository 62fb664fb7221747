"""Recorded counts of devices over longer times: alerts look back a day over these, which are few.

A day of the counts themselves is ten times as many samples, and was the dearest of what all rules read together.
"""

from __future__ import annotations

from typing import Final

from observability.alerts.rules import Group, Record, by

NODE: Final = ("cluster", "node")

RECORDS: Final = Group(
    name="counts-recorded",
    # A node that loses a device within its first ten minutes is seen to have lost it after them.
    interval="10m",
    rules=(
        Record(
            name="node:gpus:max10m",
            expr="max_over_time(node:gpus:count[10m])",
            help="Most GPUs that DCGM saw on a node at once in ten minutes; a sample every ten minutes.",
        ),
        Record(
            name="node:efa_devices:max10m",
            expr=f"{by(*NODE)} (max_over_time(efa_devices[10m]))",
            help="Most EFA devices that a node had at once in ten minutes; a sample every ten minutes.",
        ),
    ),
)
