"""Turns CloudFormation's values into what an API takes: CloudFormation accepts '4' and 'true' as text."""

from __future__ import annotations

from typing import Any


def call(client: Any, method: str, parameters: dict[str, Any]) -> Any:
    """Call `client.method` with `parameters` brought to the types of the operation's own model.

    Unknown names stay in place, so that botocore reports them as it reports any caller's mistake.
    """
    operation = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method])
    shape = operation.input_shape
    return getattr(client, method)(**(_typed(parameters, shape) if shape is not None else parameters))


def _typed(value: Any, shape: Any) -> Any:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        members = shape.members
        return {
            name: _typed(item, members[name]) if name in members else item for name, item in value.items()
        }
    if kind == "list" and isinstance(value, list):
        return [_typed(item, shape.member) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _typed(item, shape.value) for key, item in value.items()}
    if kind in ("integer", "long") and isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    if kind in ("float", "double") and isinstance(value, str):
        return float(value)
    if kind == "boolean" and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind == "string" and isinstance(value, bool):
        return "true" if value else "false"
    if kind == "string" and isinstance(value, int | float):
        return str(value)
    return value
