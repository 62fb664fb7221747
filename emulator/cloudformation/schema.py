"""CloudFormation's own resource schemas, from cfn-lint: the source of names and forms of properties."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from cfnlint.schema import (  # type: ignore[import-untyped]
    PROVIDER_SCHEMA_MANAGER,
    ResourceNotFoundError,
)
from jsonschema import Draft7Validator, ValidationError  # type: ignore[import-untyped]
from jsonschema.validators import extend  # type: ignore[import-untyped]

Properties = dict[str, Any]


class ResourceSchema:
    """The schema of one type: checks properties, and says what may be read and what forces a replacement."""

    def __init__(self, resource_type: str, schema: dict[str, Any], attributes: list[str]) -> None:
        self.type = resource_type
        self._schema = _readable({key: value for key, value in schema.items() if key in _CHECKED})
        self._validator = _Validator(self._schema)
        self._read_only = _pointers(schema, "readOnlyProperties")
        self._create_only = _pointers(schema, "createOnlyProperties")
        self.attributes = attributes
        self.create_only = {path[0] for path in self._create_only}
        self._identifier = _pointers(schema, "primaryIdentifier")

    def problems(self, properties: Properties) -> list[str]:
        """Return what CloudFormation would reject: unknown, missing, read-only properties, wrong forms."""
        found = []
        for error in self._validator.iter_errors(properties):
            where = "/".join(str(part) for part in error.absolute_path)
            found.append(f"#/{where}: {error.message}")
        declared = self._schema.get("properties", {})
        for path in self._read_only:
            if len(path) == 1 and path[0] in properties and path[0] in declared:
                found.append(f"#/{path[0]}: is read-only and cannot be set")
        return found

    def has_attribute(self, name: str) -> bool:
        """Return whether Fn::GetAtt may ask for `name`; of a stack in a stack the outputs are a pattern."""
        return name in self.attributes or any(
            re.fullmatch(pattern, name) for pattern in self.attributes if "\\" in pattern
        )

    def replaces(self, before: Properties, after: Properties) -> list[str]:
        """Return the create-only properties that differ: their change makes a new resource."""
        paths = [path for path in self._create_only if _values(before, path) != _values(after, path)]
        return sorted({path[0] for path in paths})

    def given_identity(self, properties: Properties) -> tuple[Any, ...] | None:
        """Return the values that identify the resource, or None where AWS or CloudFormation makes one of them."""
        values = tuple(_values(properties, path) for path in self._identifier)
        return None if not values or None in values else values


@lru_cache
def resource_schema(resource_type: str, region: str) -> ResourceSchema | None:
    """Return the schema of a type in a region, or None where CloudFormation has no such type or it is custom."""
    if resource_type.startswith("Custom::") or resource_type == "AWS::CloudFormation::CustomResource":
        return None
    try:
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, resource_type)
    except ResourceNotFoundError:
        return None
    return ResourceSchema(resource_type, schema.schema, list(schema.get_atts))


_CHECKED = (
    "type",
    "properties",
    "definitions",
    "required",
    "additionalProperties",
    "patternProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependencies",
)


def _readable(schema: Any) -> Any:
    """Return a schema whose names' patterns Python's re understands: `\\p{L}` is not among them."""
    if isinstance(schema, list):
        return [_readable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _readable(value) for key, value in schema.items()}
    patterns = result.get("patternProperties")
    if isinstance(patterns, dict):
        result["patternProperties"] = {
            pattern if _compiles(pattern) else ".*": value for pattern, value in patterns.items()
        }
    return result


@lru_cache
def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _pointers(schema: dict[str, Any], key: str) -> list[tuple[str, ...]]:
    return [tuple(pointer.split("/")[2:]) for pointer in schema.get(key) or []]


def _values(value: Any, path: tuple[str, ...]) -> Any:
    """Return the values at `path`, in which `*` is every item of a list."""
    if not path:
        return value
    head, *rest = path
    if head == "*":
        items = value if isinstance(value, list) else []
        return [_values(item, tuple(rest)) for item in items]
    return _values(value.get(head), tuple(rest)) if isinstance(value, dict) else None


def _is_number(_checker: Any, value: Any) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(checker: Any, value: Any) -> bool:
    return _is_number(checker, value) and float(value).is_integer()


def _is_boolean(_checker: Any, value: Any) -> bool:
    return isinstance(value, bool) or value in ("true", "false")


def _is_string(_checker: Any, value: Any) -> bool:
    # CloudFormation turns scalars into text where text is required.
    return isinstance(value, str | int | float | bool)


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Any:
    # Patterns are ECMAScript's or Java's: those that Python's re does not read are left to cfn-lint.
    text = _plain(instance)
    if isinstance(text, str) and _compiles(pattern) and not re.search(pattern, text):
        yield ValidationError(f"{text!r} does not match {pattern!r}")


def _enum(_validator: Any, allowed: list[Any], instance: Any, _schema: Any) -> Any:
    if _plain(instance) not in map(_plain, allowed):
        yield ValidationError(f"{instance!r} is not one of {allowed}")


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _limit(keyword: str) -> Any:
    """Return jsonschema's own check of a numeric limit, for numbers given as text too."""
    check = Draft7Validator.VALIDATORS[keyword]

    def limited(validator: Any, limit: Any, instance: Any, schema: Any) -> Any:
        if isinstance(instance, str) and _is_number(None, instance):
            instance = float(instance)
        if not isinstance(instance, str):
            yield from check(validator, limit, instance, schema)

    return limited


_types = (
    Draft7Validator.TYPE_CHECKER.redefine("number", _is_number)
    .redefine("integer", _is_integer)
    .redefine("boolean", _is_boolean)
    .redefine("string", _is_string)
)
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_Validator = extend(
    Draft7Validator,
    validators={"pattern": _pattern, "enum": _enum, **{keyword: _limit(keyword) for keyword in _LIMITS}},
    type_checker=_types,
)
