"""The JSON Schema of settings, in which the text under each field is its description."""

from __future__ import annotations

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from settings.parser.fields import fields_of


class DescribedSchema(GenerateJsonSchema):
    """The generator to give to `model_json_schema`: it adds the descriptions, which models do not hold."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of a model."""
        return _described(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        """Return the schema of a dataclass of the catalog."""
        return _described(super().dataclass_schema(schema), schema["cls"])


def _described(schema: JsonSchemaValue, kind: type) -> JsonSchemaValue:
    fields = fields_of(kind)
    for name, shown in schema.get("properties", {}).items():
        if fields[name].description:
            shown["description"] = fields[name].description
    return schema
