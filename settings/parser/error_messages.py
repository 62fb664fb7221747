"""Findings for pydantic's errors: rule, place, value as written, allowed values, next step."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from catalog.finding import Finding, Severity
from settings.parser.document import Place
from settings.parser.fields import fields_of, is_read
from settings.parser.values import guess, listed, nearest, shown, suggestion

KEY = "[key]"
"""The last part of pydantic's location of a mistake in a mapping's key itself."""

UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""Pydantic's error types for a key that a model, or a dataclass, does not have."""


@dataclass(frozen=True, slots=True)
class Located:
    """The place of an error: its path in the values, the model and the field.

    `model` is the one that should hold the last key of `path`; `near` are its keys most like an unknown one,
    `absent` those of them that are not given.
    """

    path: tuple[str, ...]
    model: type | None
    field: FieldInfo | None
    near: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def located(loc: tuple[int | str, ...], data: Any, whole: type[BaseModel]) -> Located:
    """Follow pydantic's location through the models in `whole` and values; the names of union members drop out."""
    annotation: Any = whole
    value = data
    holder: Any = None
    path: list[str] = []
    model: type | None = None
    field: FieldInfo | None = None
    parts = list(loc)
    while parts:
        members = _members(annotation)
        if len(members) > 1:
            tag = parts.pop(0)
            annotation = next((member for member in members if _has_tag(member, tag)), None)
            if not parts:
                break
        elif members:
            annotation = members[0]
        part = parts.pop(0)
        path.append(str(part))
        model, field = None, None
        if is_read(annotation):
            model = annotation
            field = fields_of(annotation).get(str(part))
            annotation = field.annotation if field else None
        else:
            arguments = [argument for argument in get_args(annotation) if argument is not ...]
            annotation = arguments[-1] if arguments else None
        holder, value = value, _child(value, part)
    near: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    if model is not None and field is None and path:
        near = nearest(path[-1], fields_of(model))
        absent = tuple(name for name in near if not (isinstance(holder, dict) and name in holder))
    return Located(tuple(path), model, field, near, absent)


def worded(
    detail: ErrorDetails, place: Located, path: tuple[str, ...], places: Mapping[str, Place]
) -> Finding:
    """Return the finding for one pydantic error, in terms of the configuration file."""
    kind = detail["type"]
    where = ".".join(path)
    written = places.get(where)
    given = detail["input"]
    value = shown(written.text if written and written.text is not None else given)
    context = detail.get("ctx", {})
    if path[-1] == KEY and kind == "literal_error":
        where, allowed = ".".join(path[:-1]), str(context.get("expected", ""))
        message = f"there is no key '{shown(given)}' here{guess(str(given), re.findall(_QUOTED, allowed), 1)}"
        return _error("unknown-key", where, shown(given), message, f"keys here: {allowed}")
    match kind:
        case "missing":
            return _error("missing-key", where, "", f"the key '{path[-1]}' is required", _description(place))
        case _ if kind in UNKNOWN_KEY:
            return _unknown_key(place, where, path[-1])
        case "union_tag_not_found" | "union_tag_invalid":
            return _source(place, where, given)
        case "greater_than_equal" | "less_than_equal" | "greater_than" | "less_than":
            message = f"{value} is not {_bounds(place, context)}"
            return _error("out-of-range", where, value, message, _description(place))
        case "too_short" | "too_long" | "string_too_short" | "string_too_long":
            return _error("out-of-range", where, value, _length(kind, context), _description(place))
        case "literal_error" | "enum":
            return _not_allowed(place, where, value)
        case "ip_v4_network":
            return _range(where, value)
    sources = _sources(place)
    if sources and isinstance(given, str):
        return _bare_source(where, value, sources)
    expected = _EXPECTED.get(kind)
    if expected is None:
        return _error("bad-value", where, value, f"'{value}' is not valid here", _description(place))
    return _wrong_type(kind, expected, where, value, given, place)


_QUOTED = re.compile(r"'([^']*)'")

_EXPECTED = {
    "string_type": "text",
    "string_unicode": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
}


def _error(rule: str, path: str, value: str, message: str, hint: str = "") -> Finding:
    return Finding(rule, Severity.ERROR, path, value, message, hint)


def _unknown_key(place: Located, where: str, key: str) -> Finding:
    known = sorted(fields_of(place.model)) if place.model else []
    hint = f"keys here: {', '.join(known)}" if known else ""
    return _error(
        "unknown-key", where, shown(key), f"there is no key '{shown(key)}' here{suggestion(place.near)}", hint
    )


def _source(place: Located, where: str, given: Any) -> Finding:
    allowed = _sources(place)
    source = given.get("source") if isinstance(given, dict) else None
    hint = f"allowed: {listed(allowed)}"
    if source is None:
        return _error("capacity-source", where, "", "a capacity needs a 'source'", hint)
    value = shown(source)
    meant = guess(value, allowed, 1)
    message = f"'{value}' is not a capacity source{meant}"
    return _error("capacity-source", f"{where}.source", value, message, hint)


def _sources(place: Located) -> list[str]:
    """Return the sources of capacity that a field takes; none where it is no capacity."""
    members = _members(place.field.annotation) if place.field else []
    return [str(tag) for member in members for tag in _tags(member)]


def _bare_source(where: str, value: str, sources: list[str]) -> Finding:
    """Return the finding for a capacity that is a word, not a mapping: the source as it is meant, in full."""
    near = nearest(value.replace("_", "-"), sources, 1)
    message = f"a capacity is a mapping with a 'source', not '{value}'"
    example = near[0] if near else "on-demand"
    meant = "write it as" if near else "such as"
    return _error(
        "capacity-source",
        where,
        value,
        message,
        f"{meant} '{{source: {example}}}'; sources: {listed(sources)}",
    )


def _not_allowed(place: Located, where: str, value: str) -> Finding:
    allowed = _choices(place.field.annotation if place.field else None)
    meant = guess(value, (str(choice) for choice in allowed), 1)
    hint = f"allowed: {listed(allowed)}"
    return _error("not-allowed", where, value, f"'{value}' is not allowed{meant}", hint)


def _range(where: str, value: str) -> Finding:
    hint = "write it as '10.1.0.0/16'"
    try:
        hint = f"the range that holds it is '{IPv4Network(value, strict=False)}'"
    except ValueError:
        return _error("bad-cidr", where, value, f"'{value}' is not an IPv4 address range", hint)
    return _error("bad-cidr", where, value, f"'{value}' is an address, not the beginning of a range", hint)


def _wrong_type(kind: str, expected: str, where: str, value: str, given: Any, place: Located) -> Finding:
    actual = _kind(given)
    hint = _description(place)
    message = f"expected {expected}, not {actual}"
    if given is None:
        message = f"expected {expected}, but there is no value"
    elif isinstance(given, bool) and value not in ("true", "false"):
        message = f"expected {expected}, not '{value}', which YAML reads as {shown(given)}"
    if kind == "string_type" and isinstance(given, bool | int | float):
        hint = f"put it in quotes: '\"{value}\"'"
    elif isinstance(given, str) and _reads_as(kind, given):
        hint = "remove the quotes"
    elif kind in ("list_type", "tuple_type") and given is not None and not isinstance(given, dict | list):
        hint = f"a list of one is written '[{value}]'"
    return _error("wrong-type", where, value, message, hint)


def _reads_as(kind: str, text: str) -> bool:
    if kind == "bool_type":
        return text in ("true", "false")
    return kind.startswith("int") and text.strip().lstrip("+-").isdecimal()


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "text"
        case int():
            return "a whole number"
        case float():
            return "a number with a fraction" if math.isfinite(value) else "infinity or no number at all"
        case dict():
            return "a mapping"
        case list():
            return "a list"
    return "this"


def _description(place: Located) -> str:
    text = (place.field.description if place.field else None) or ""
    return " ".join(text.split()).rstrip(".").replace("`", "'")


def _bounds(place: Located, context: Mapping[str, Any]) -> str:
    # A value of a mapping has no field: pydantic names the bound that it breaks.
    low, high = context.get("ge"), context.get("le")
    for constraint in place.field.metadata if place.field else ():
        low = getattr(constraint, "ge", low)
        high = getattr(constraint, "le", high)
    if low is not None and high is not None:
        return f"between {low} and {high}"
    return f"{low} or more" if low is not None else f"{high} or less"


def _length(kind: str, context: Mapping[str, Any]) -> str:
    unit = "characters" if kind.startswith("string") else "entries"
    if kind.endswith("short"):
        least = context.get("min_length")
        return f"at least {least} {unit if least != 1 else unit.replace('entries', 'entry')} are required"
    return f"at most {context.get('max_length')} {unit} are allowed"


def _members(annotation: Any) -> list[Any]:
    """Return the alternatives of an annotation but None, or the annotation itself."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [inner for part in get_args(annotation) if part is not type(None) for inner in _members(part)]
    return [annotation] if annotation is not None else []


def _tags(member: Any) -> tuple[Any, ...]:
    field = fields_of(member).get("source") if is_read(member) else None
    return get_args(field.annotation) if field else ()


def _has_tag(member: Any, tag: int | str) -> bool:
    return tag in _tags(member)


def _choices(annotation: Any) -> list[Any]:
    return [
        choice
        for member in _members(annotation)
        if get_origin(member) is Literal
        for choice in get_args(member)
    ]


def _child(value: Any, part: int | str) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None
