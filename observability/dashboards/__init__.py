"""The dashboards of a deployment, as documents that Grafana reads."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from observability.dashboards.model import Board


@lru_cache
def boards() -> tuple[Board, ...]:
    """Return all dashboards as data, the widest view first."""
    from observability.dashboards.accelerators import ACCELERATORS
    from observability.dashboards.efa import EFA
    from observability.dashboards.node import NODE
    from observability.dashboards.overview import CLUSTER_BOARD, FLEET
    from observability.dashboards.queues import KUBERNETES, SLURM
    from observability.dashboards.storage import FSX
    from observability.dashboards.training import TRAINING

    return (FLEET, CLUSTER_BOARD, NODE, ACCELERATORS, EFA, SLURM, KUBERNETES, FSX, TRAINING)


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the document of each dashboard by its uid.

    Grafana's library is imported here, so that a program that makes no dashboards does not pay for it.
    """
    from observability.dashboards.grafana import document

    return {board.uid: document(board) for board in boards()}
