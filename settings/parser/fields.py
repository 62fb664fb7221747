"""What mappings of a configuration are read into, models and dataclasses of the catalog, and their fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Any, TypeGuard, get_type_hints

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class _FromMapping:
    """Marks a dataclass of the catalog that a mapping is read into.

    Its fields are as strict as those of the model around it. The `source` by which one of a union is chosen must be
    written, whatever its default.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        dataclass_schema: dict[str, Any] = handler.resolve_ref_schema(schema)  # type: ignore[assignment]
        # A strict dataclass takes its own instances only.
        dataclass_schema["strict"] = False
        return schema

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = handler(schema)
        body = handler.resolve_ref_schema(found)
        properties, required = body["properties"], body.get("required", [])
        if "source" in properties:
            properties["source"].pop("default", None)
            properties = {"source": properties["source"], **properties}
            required = list(dict.fromkeys(("source", *required)))
        for name, value in properties.items():
            # A mapping made anew for each instance; pydantic leaves it out.
            if value.get("type") == "object" and name not in required:
                value.setdefault("default", {})
        body["properties"] = properties
        if required:
            body["required"] = required
        return found


FROM_MAPPING = _FromMapping()


def is_read(kind: object) -> TypeGuard[type]:
    """Return whether mappings are read into a type."""
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind))


@cache
def fields_of(kind: type) -> Mapping[str, FieldInfo]:
    """Return the fields of a type that mappings are read into, with their descriptions."""
    if issubclass(kind, BaseModel):
        return kind.model_fields
    held: Any = Annotated[kind, FROM_MAPPING]
    holder = create_model("Holder", __config__=ConfigDict(use_attribute_docstrings=True), held=(held, ...))
    properties = holder.model_json_schema()["$defs"][kind.__name__]["properties"]
    found = {}
    for name, annotation in get_type_hints(kind).items():
        found[name] = FieldInfo.from_annotation(annotation)
        found[name].description = properties[name].get("description")
    return found
