"""SSM's parameter sizes and EventBridge's pattern size."""

from __future__ import annotations

import json
from collections.abc import Iterator

from emulator.refusals.refusal import refuses
from emulator.resources.resource import Resource

# Systems Manager user guide, "Managing parameter tiers".
_STANDARD, _ADVANCED = 4096, 8192
# EventBridge user guide, "Quotas": event pattern size.
_PATTERN = 2048


@refuses("AWS::SSM::Parameter")
def _value(resource: Resource) -> Iterator[str]:
    """A standard parameter holds 4 KiB, an advanced one 8; intelligent tiering chooses between the two."""
    length = len(str(resource.properties.get("Value", "")).encode())
    most = _STANDARD if resource.properties.get("Tier", "Standard") == "Standard" else _ADVANCED
    if length > most:
        yield f"Parameter value of {length} bytes exceeds the maximum of {most} bytes of its tier"


@refuses("AWS::Events::Rule")
def _pattern(resource: Resource) -> Iterator[str]:
    """An event pattern has at most 2,048 characters."""
    pattern = resource.properties.get("EventPattern")
    length = len(json.dumps(pattern, separators=(",", ":"))) if pattern else 0
    if length > _PATTERN:
        yield f"Event pattern of {length} characters exceeds the maximum of {_PATTERN}"
