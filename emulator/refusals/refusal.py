"""A refusal: a named function from a resource to the reasons for which AWS does not make it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from emulator.resources.resource import Resource

Refusal = Callable[[Resource], Iterator[str]]

_REFUSALS: dict[str, list[Refusal]] = {}


def refuses(*types: str) -> Callable[[Refusal], Refusal]:
    """Register a function for resource types; it yields a reason for each mistake."""

    def register(function: Refusal) -> Refusal:
        for name in types:
            _REFUSALS.setdefault(name, []).append(function)
        return function

    return register


def refused(resource: Resource) -> list[str]:
    """Return every reason for which AWS would not create a resource, or change it to its properties."""
    return [reason for refusal in _REFUSALS.get(resource.resource_type, ()) for reason in refusal(resource)]


def statements(document: Any) -> list[dict[str, Any]]:
    """Return the statements of a policy, which may be text, and whose Statement may be one statement without a list."""
    policy = json.loads(document) if isinstance(document, str) else document or {}
    found: Any = policy.get("Statement", [])
    return found if isinstance(found, list) else [found]


def number(value: Any) -> int | None:
    """Return a number that a template gives as such or as text, None where it is absent."""
    return None if value is None else int(float(value))
