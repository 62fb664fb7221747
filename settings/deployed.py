"""What is deployed, to compare a configuration with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from settings.deployment import Settings


class Unknown:
    """A value that only the deployment knew: a reference in a template."""


UNKNOWN = Unknown()


@dataclass(frozen=True, slots=True)
class Deployed:
    """What is deployed: the settings of that time, or the configuration that ParallelCluster has.

    `version` is that of the ParallelCluster that made the cluster, empty where it is not told.
    """

    settings: Settings | None = None
    cluster: Mapping[str, Any] | None = None
    version: str = ""

    def at(self, keys: tuple[str, ...]) -> object:
        """Return a value of the cluster's configuration: None where there is none, UNKNOWN for a reference.

        Lists are looked into by the value of `Name`.
        """
        value: Any = self.cluster
        for key in keys:
            if isinstance(value, list):
                value = next(
                    (item for item in value if isinstance(item, Mapping) and item.get("Name") == key), None
                )
            elif _is_reference(value):
                return UNKNOWN
            else:
                value = value.get(key) if isinstance(value, Mapping) else None
        return UNKNOWN if _is_reference(value) else value


def _is_reference(value: object) -> bool:
    """Return whether a value of a template is filled in by CloudFormation."""
    return isinstance(value, Mapping) and any(key == "Ref" or key.startswith("Fn::") for key in value)
