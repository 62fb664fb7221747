"""The fields that dcgm-exporter is to export: those of the catalog, all of which alerts and panels read.

The exporter's own list leaves out memory errors, violations and pending rows, so that alerts on them would never fire.
"""

from __future__ import annotations

from catalog.metrics import of_exporter


def counters_csv() -> str:
    """Return the file for the exporter's option `-f`: field, type and help on each line, in the catalog's order.

    The exporter's reader takes three fields on a line (its etc/default-counters.csv), so no help has a comma.
    """
    lines = [
        f"{metric.name}, {metric.type}, {metric.help.replace(',', ' -')}" for metric in of_exporter("dcgm")
    ]
    return "\n".join(["# field, type, help", *lines]) + "\n"
