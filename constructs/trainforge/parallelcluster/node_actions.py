"""Custom actions: scripts that nodes run when they start, when they are configured and when the cluster changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CustomAction:
    """A script by `s3://` URL, and its arguments.

    On the head node and on login nodes both stay the same for the life of the cluster: ParallelCluster refuses an
    update that changes them. What may change belongs into a file that the script reads.
    """

    script: str
    arguments: tuple[str, ...] = ()

    def configuration(self, *more: str) -> dict[str, Any]:
        """Return the action in ParallelCluster's spelling, with further arguments."""
        arguments = [*self.arguments, *more]
        return {"Script": self.script, **({"Args": arguments} if arguments else {})}


@dataclass(frozen=True, slots=True)
class NodeActions:
    """The actions of one kind of node, in the order in which they run.

    `start` runs before ParallelCluster configures the node, `configured` after it. `revision` names the content of
    scripts and files, and comes as a last argument where a change of it is to be acted on: compute nodes are replaced
    by the queue's update strategy, the head node and login nodes run `configured` once more.
    """

    start: tuple[CustomAction, ...] = ()
    configured: tuple[CustomAction, ...] = ()
    revision: str = ""

    def of_compute(self) -> dict[str, Any]:
        """Return the section `CustomActions` of a queue."""
        revision = (self.revision,) if self.revision else ()
        return _section(
            OnNodeStart=[action.configuration(*revision) for action in self.start],
            OnNodeConfigured=[action.configuration(*revision) for action in self.configured],
        )

    def of_permanent_nodes(self) -> dict[str, Any]:
        """Return the section `CustomActions` of the head node or of a login pool, which an update does not replace."""
        revision = (self.revision,) if self.revision else ()
        return _section(
            OnNodeStart=[action.configuration() for action in self.start],
            OnNodeConfigured=[action.configuration() for action in self.configured],
            OnNodeUpdated=[action.configuration(*revision) for action in self.configured],
        )


def _section(**events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    sequences = {event: {"Sequence": list(actions)} for event, actions in events.items() if actions}
    return {"CustomActions": sequences} if sequences else {}
