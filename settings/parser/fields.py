"""Types that mappings of a configuration are read into (models, dataclasses of the catalog), and their fields."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import asdict, is_dataclass
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from catalog.fields import Bounds, Given, MinLength, Pattern
from settings.parser.descriptions import descriptions


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


NotBool = BeforeValidator(_refuse_bool)
"""For literal numbers: Python treats True as equal to 1, and YAML writes it `yes`."""


class _FromMapping:
    """Marks a dataclass of the catalog that a mapping is read into.

    Its fields are as strict as those of the model around it. The `source` by which one of a union is chosen must be
    written, whatever its default. What `catalog.fields` notes on a field holds: its bounds, and whether a configuration
    writes it; the model around gives what is not written.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        dataclass_schema: dict[str, Any] = handler.resolve_ref_schema(schema)  # type: ignore[assignment]
        # A strict dataclass takes its own instances only.
        dataclass_schema["strict"] = False
        hints = get_type_hints(source, include_extras=True)
        arguments = dataclass_schema["schema"]
        fields = [
            _field(one, hints[one["name"]], handler)
            for one in arguments["fields"]
            if Given.BY_KEY not in _notes(hints[one["name"]])
        ]
        arguments["fields"] = sorted(fields, key=lambda one: one["name"] != "source")
        return schema


FROM_MAPPING = _FromMapping()


def _notes(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def _field(
    field: core_schema.DataclassField, annotation: Any, handler: GetCoreSchemaHandler
) -> core_schema.DataclassField:
    """Return the schema of a field by which a configuration's value is read into it."""
    inner = handler.generate_schema(readable(annotation))
    declared: dict[str, Any] = field["schema"]  # type: ignore[assignment]
    written: Any
    if Given.BY_DEFAULT in _notes(annotation):
        written = core_schema.with_default_schema(core_schema.nullable_schema(inner), default=None)
    elif declared["type"] != "default" or field["name"] == "source":
        written = inner
    elif declared.get("default_factory") is dict:
        # As a value: a schema shows no default that a function makes.
        written = core_schema.with_default_schema(inner, default={})
    else:
        written = {**declared, "schema": inner}
    return {**field, "schema": written}


def readable(annotation: Any) -> Any:
    """Return an annotation of the catalog as pydantic reads it.

    Dataclasses are read from mappings, tuples from lists, and unions by their source.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *notes = get_args(annotation)
        limits = [Field(**asdict(note)) for note in notes if isinstance(note, Bounds | MinLength | Pattern)]
        return reduce(lambda read, limit: Annotated[read, limit], limits, readable(inner))
    if origin is dict:
        key, value = get_args(annotation)
        return dict[key, readable(value)]  # type: ignore[misc,valid-type]
    if origin is tuple:
        # A strict tuple takes no list.
        return Annotated[tuple[readable(get_args(annotation)[0]), ...], Field(strict=False)]  # type: ignore[misc]
    if origin is Literal and any(isinstance(choice, int) for choice in get_args(annotation)):
        return Annotated[annotation, NotBool]
    if origin in (Union, UnionType):
        members = get_args(annotation)
        union = reduce(or_, (readable(member) for member in members))
        if all(is_dataclass(member) for member in members):
            return Annotated[union, Field(discriminator="source")]
        return union
    return Annotated[annotation, FROM_MAPPING] if is_dataclass(annotation) else annotation


def is_read(kind: object) -> TypeGuard[type]:
    """Return whether mappings are read into a type."""
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind))


@cache
def fields_of(kind: type) -> Mapping[str, FieldInfo]:
    """Return the fields of a type that mappings are read into, with their descriptions."""
    if issubclass(kind, BaseModel):
        found = {name: copy(field) for name, field in kind.model_fields.items()}
    else:
        found = {
            name: FieldInfo.from_annotation(annotation)
            for name, annotation in get_type_hints(kind, include_extras=True).items()
            if Given.BY_KEY not in _notes(annotation)
        }
    texts = descriptions(kind)
    for name, field in found.items():
        field.description = texts.get(name)
    return {field.alias or name: field for name, field in found.items()}
