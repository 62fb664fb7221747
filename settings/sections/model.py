"""The base class of all settings: frozen, strict about unknown keys, with a description of every field."""

from __future__ import annotations

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError


class Model(BaseModel):
    """Base of all settings: immutable once read, and a misspelt key is a mistake, not a silent default.

    Strict, because YAML has types of its own: `nodes: yes` is a mistake and not one node. A validator is built when
    it is first used: that of the whole configuration holds its sections, whose own are rarely needed. The text under
    a field is its description, which `settings.parser.descriptions` reads.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, str_strip_whitespace=True, defer_build=True
    )


def _refuse_number(value: object) -> object:
    if isinstance(value, bool | int | float):
        raise PydanticCustomError("string_type", "Input should be a valid string")
    return value


TextOnly = BeforeValidator(_refuse_number)
"""For what is written as text and read as something else: a bare number would be taken for an address."""
