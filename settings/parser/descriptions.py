"""Descriptions of the fields of settings: the text under each field, read from its source when it is asked for.

Pydantic's `use_attribute_docstrings` reads the source of every model when it is imported: a fifth of the time of
`trainforge validate`. A schema and the hint of a mistake need the text; a valid configuration does not.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache

from pydantic import BaseModel


@cache
def descriptions(kind: type) -> Mapping[str, str]:
    """Return the descriptions of a class's fields by field, its bases' among them; a field without text has none."""
    declaring = [base for base in kind.__mro__ if base is not BaseModel and inspect.get_annotations(base)]
    return {
        field: text
        for base in reversed(declaring)
        for field, text in _of_module(base.__module__).get(base.__name__, {}).items()
    }


@cache
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return the descriptions in each class of a module."""
    tree = ast.parse(inspect.getsource(sys.modules[name]))
    return {node.name: dict(_of_class(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, after in zip(node.body, node.body[1:], strict=False):
        match field, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                yield name, inspect.cleandoc(text)
