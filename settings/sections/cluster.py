"""The section of a cluster: its pools, and the questions that rules ask of every kind of cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog.pool import Pool
from settings.sections.model import Model


@dataclass(frozen=True, slots=True)
class FixedNodes:
    """Nodes that a cluster has beside its pools: a controller, login nodes, nodes that run operators.

    `key` is their place in the section, and `what` describes them. Those without an `availability_zone` are in
    the first one; with `spread` they are in all zones, so that any zone may get one more. `addresses` are those that a
    node takes of its subnet, its own among them.
    """

    key: str
    what: str
    instance_type: str
    nodes: int = 1
    availability_zone: str | None = None
    spread: bool = False
    addresses: int = 1


class ClusterSettings(Model):
    """Base of the sections that make a cluster. A section has a field `pools`, and overrides what differs."""

    if TYPE_CHECKING:
        # A field of each section, with words of its own.
        @property
        def pools(self) -> list[str]: ...

    def fixed_nodes(self) -> Iterator[FixedNodes]:
        """Yield the nodes that the cluster has beside its pools."""
        yield from ()

    def zones(self) -> Iterator[tuple[str, str, str]]:
        """Yield each zone that the section chooses: its key within the section, the zone, and what is in it."""
        for nodes in self.fixed_nodes():
            if nodes.availability_zone is not None:
                yield f"{nodes.key}.availability_zone", nodes.availability_zone, nodes.what

    def addresses_per_pool_node(self) -> int:
        """Return the addresses that a node of a pool takes of its subnet beside those of its interfaces."""
        return 0

    def running_nodes(self, pool: Pool) -> int:
        """Return how many nodes of a pool run whether there are jobs or not."""
        return pool.nodes

    def key_of_no_nodes(self, pool: Pool) -> str:
        """Return the key, within the section, by which no node of a pool runs without jobs; empty where none does."""
        del pool
        return ""

    def reads_secrets(self) -> bool:
        """Return whether its nodes read a secret that the section names: they call Secrets Manager."""
        return False

    def leaves_lustre_on_tcp(self) -> bool:
        """Return whether nothing sets up the Lustre client of the nodes for EFA: no script of ours, nor of the user."""
        return True
