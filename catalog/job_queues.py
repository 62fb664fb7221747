"""Queues of jobs on a Kubernetes cluster, each with a share of the pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from catalog.fields import KEY, Bounds, MinLength


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of jobs and its share of the cluster."""

    name: Annotated[str, KEY]
    nodes: Annotated[dict[str, Annotated[int, Bounds(0, 6758)]], MinLength(1)]
    """Whole nodes that are the queue's, by pool."""
    borrow: bool = True
    """Takes what other queues leave idle too, and lends them what it leaves idle itself."""
