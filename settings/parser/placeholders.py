"""Placeholders: values put in place of missing ones, so that everything beside them can still be checked."""

from __future__ import annotations

import re
from typing import Any

from pydantic.fields import FieldInfo

UNSPECIFIED = "unspecified"
"""The placeholder of text. It is no valid name, id or instance type; findings at its own path are dropped."""


def placeholder_for(path: tuple[str, ...], field: FieldInfo | None, data: dict[str, Any]) -> Any:
    """Return the placeholder of a required value; None where what holds the value must be left out."""
    match path:
        case ("region",):
            return _region(data)
        case ("availability_zones",):
            return _zones(data)[:6] or [f"{data.get('region') or _region(data)}a"]
    if field is None:
        return None
    if field.annotation is int:
        return next((rule.ge for rule in field.metadata if hasattr(rule, "ge")), 1)
    if field.annotation is str:
        longest = next((rule.max_length for rule in field.metadata if hasattr(rule, "max_length")), None)
        return UNSPECIFIED[:longest]
    return None


def _region(data: dict[str, Any]) -> str:
    """Return the region that the file's zones are of."""
    listed = data.get("availability_zones")
    zones = [*(listed if isinstance(listed, list) else ()), *_zones(data)]
    matches = (re.match(r"[a-z]+(-[a-z]+)+-\d+", zone) for zone in zones if isinstance(zone, str))
    return next((match[0] for match in matches if match), "us-east-1")


def _zones(data: dict[str, Any]) -> list[str]:
    """Return the zones that pools name, each once."""
    pools = data.get("pools")
    written = [pool for pool in pools.values() if isinstance(pool, dict)] if isinstance(pools, dict) else []
    found = (pool.get("availability_zone") for pool in written)
    return list(dict.fromkeys(zone for zone in found if isinstance(zone, str)))
