"""A template as the engine reads it: resources in the order of their dependencies, and parameter values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from emulator.cloudformation.intrinsics import TemplateError

_PLACEHOLDER = re.compile(r"\$\{([^!}][^}]*)\}")


@dataclass(frozen=True)
class Definition:
    """A resource as the template defines it, functions unresolved."""

    logical_id: str
    type: str
    properties: Any
    condition: str | None
    deletion_policy: str
    update_replace_policy: str
    depends_on: tuple[str, ...]


class Template:
    """A parsed template.

    Raises (on construction):
        TemplateError: the text is not a template, a dependency is missing or circular.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.document = _document(text)
        resources = self.document.get("Resources")
        if not isinstance(resources, dict) or not resources:
            raise TemplateError("Template format error: At least one Resources member must be defined.")
        self.resources = {name: _definition(name, body) for name, body in resources.items()}
        self.mappings: Mapping[str, Any] = self.document.get("Mappings", {})
        self.conditions: Mapping[str, Any] = self.document.get("Conditions", {})
        self.outputs: Mapping[str, Any] = self.document.get("Outputs") or {}
        self.parameters: Mapping[str, Any] = self.document.get("Parameters", {})
        self._check_references()

    @cached_property
    def order(self) -> list[str]:
        """Logical ids in the order of dependencies; otherwise as in the template.

        Raises:
            TemplateError: the dependencies are circular.
        """
        done: list[str] = []
        state: dict[str, str] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if state.get(name) == "done":
                return
            if state.get(name) == "open":
                circle = ", ".join((*path[path.index(name) :], name))
                raise TemplateError(f"Circular dependency between resources: [{circle}]")
            state[name] = "open"
            for dependency in self.dependencies(name):
                visit(dependency, (*path, name))
            state[name] = "done"
            done.append(name)

        for name in self.resources:
            visit(name, ())
        return done

    def dependencies(self, name: str) -> list[str]:
        """Return the logical ids that a resource depends on, by DependsOn or by reference."""
        definition = self.resources[name]
        found = [*definition.depends_on, *references(definition.properties)]
        return [item for item in dict.fromkeys(found) if item in self.resources and item != name]

    def parameter_values(
        self, given: Mapping[str, str], stored: Callable[[str], str]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Return parameter values as functions see them, and as the caller gave them.

        `stored` returns the value of an SSM parameter, for types `AWS::SSM::Parameter::Value<...>`.

        Raises:
            TemplateError: a value is missing, not declared, or not one of those allowed.
        """
        unknown = sorted(set(given) - set(self.parameters))
        if unknown:
            raise TemplateError(f"Parameters: {unknown} do not exist in the template")
        missing = [
            name for name, body in self.parameters.items() if name not in given and "Default" not in body
        ]
        if missing:
            raise TemplateError(f"Parameters: {missing} must have values")
        resolved: dict[str, Any] = {}
        raw: dict[str, str] = {}
        for name, body in self.parameters.items():
            kind = body.get("Type", "String")
            text = str(given.get(name, body.get("Default", "")))
            raw[name] = text
            allowed = [str(item) for item in body.get("AllowedValues", [])]
            if allowed and text not in allowed:
                raise TemplateError(f"Parameter '{name}' must be one of AllowedValues")
            if kind.startswith("AWS::SSM::Parameter::Value"):
                text = stored(text)
            resolved[name] = text.split(",") if "List" in kind else text
        return resolved, raw

    def _check_references(self) -> None:
        known = set(self.resources) | set(self.parameters)
        for definition in self.resources.values():
            for name in (*definition.depends_on, *references(definition.properties)):
                if name not in known and not name.startswith("AWS::"):
                    raise TemplateError(
                        "Template format error: Unresolved resource dependencies "
                        f"[{name}] in the Resources block of the template"
                    )


def references(value: Any) -> Iterator[str]:
    """Yield every name that Ref, Fn::GetAtt or Fn::Sub refers to inside `value`."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
        return
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key == "Ref" and isinstance(item, str):
            yield item
        elif key == "Fn::GetAtt":
            yield item.split(".")[0] if isinstance(item, str) else item[0]
        elif key == "Fn::Sub":
            text, extra = (item, {}) if isinstance(item, str) else (item[0], item[1])
            names = (match.split(".")[0].strip() for match in _PLACEHOLDER.findall(text))
            yield from (name for name in names if name not in extra)
            yield from references(extra)
        else:
            yield from references(item)


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        # YAML with CloudFormation's short forms (!Ref): moto has the constructors.
        from moto.cloudformation.models import Stack

        try:
            document = Stack.parse_template(text)
        except Exception as error:
            raise TemplateError(f"Template format error: {error}") from error
    if not isinstance(document, dict):
        raise TemplateError("Template format error: unsupported structure.")
    return document


def _definition(name: str, body: Any) -> Definition:
    if not isinstance(body, dict) or "Type" not in body:
        raise TemplateError(f"Template format error: resource '{name}' has no Type")
    depends = body.get("DependsOn", [])
    return Definition(
        logical_id=name,
        type=body["Type"],
        properties=body.get("Properties", {}),
        condition=body.get("Condition"),
        deletion_policy=body.get("DeletionPolicy", "Delete"),
        update_replace_policy=body.get("UpdateReplacePolicy", "Delete"),
        depends_on=(depends,) if isinstance(depends, str) else tuple(depends),
    )
