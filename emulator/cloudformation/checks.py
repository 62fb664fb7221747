"""Checks of a template that CloudFormation makes before an operation begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator.cloudformation.intrinsics import TemplateError
from emulator.cloudformation.schema import resource_schema
from emulator.cloudformation.stack import Stack
from emulator.cloudformation.template import Template, references

# CloudFormation user guide, "Understand CloudFormation quotas".
_RESOURCES = 500


def check(stack: Stack, template: Template, values: Mapping[str, Any]) -> None:
    """Check what CloudFormation checks before it begins: references, attributes, conditions, known types.

    Raises:
        TemplateError: with everything that is wrong.
    """
    resolver = stack.resolver(template, values)
    problems: list[str] = []
    if len(template.resources) > _RESOURCES:
        problems.append(
            f"Template format error: Number of resources, {len(template.resources)}, is greater than maximum "
            f"allowed, {_RESOURCES}"
        )
    for name in template.order:
        definition = template.resources[name]
        if definition.condition and definition.condition not in template.conditions:
            problems.append(f"condition '{definition.condition}' of '{name}' is not in the template")
    scope = [template.document.get("Resources"), template.outputs]
    for logical_id, attribute in _attributes(scope):
        target = template.resources.get(logical_id)
        if target is None:
            problems.append(
                f"Template error: instance of Fn::GetAtt references undefined resource {logical_id}"
            )
            continue
        schema = resource_schema(target.type, stack.region_name)
        if schema is not None and not schema.has_attribute(attribute):
            problems.append(
                f"Template error: resource {logical_id} does not support attribute type {attribute} in Fn::GetAtt"
            )
    for key, body in template.outputs.items():
        known = set(template.resources) | set(template.parameters)
        for reference in references(body.get("Value")):
            if reference not in known and not reference.startswith("AWS::"):
                problems.append(f"Unresolved resource dependencies [{reference}] in the output '{key}'")
    if not problems:
        for name in template.conditions:
            resolver.condition(name)
    if problems:
        raise TemplateError("; ".join(problems))


def _attributes(value: Any) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if isinstance(value, list):
        for item in value:
            found += _attributes(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Fn::GetAtt":
                target = item.split(".", 1) if isinstance(item, str) else item
                if isinstance(target[1], str):
                    found.append((target[0], target[1]))
            else:
                found += _attributes(item)
    return found
