"""What every settings model shares: frozen, strict about unknown keys, described field by field."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Base of all settings: immutable once read, and a misspelt key is a mistake, not a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, use_attribute_docstrings=True)
