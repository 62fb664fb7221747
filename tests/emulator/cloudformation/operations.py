"""Create, update and delete: the order, the events, the checks and the rollback of CloudFormation."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.emulator.cloudformation.intrinsics import TemplateError
from tests.emulator.cloudformation.schema import resource_schema
from tests.emulator.cloudformation.stack import Stack, StackResource
from tests.emulator.cloudformation.template import Definition, Template, references
from tests.emulator.custom_resources import handler_of_custom_resource
from tests.emulator.resources import REGISTRY, Resource, ResourceFailure
from tests.emulator.resources.moto_models import handler_of_moto

log = logging.getLogger("tests.emulator")

Undo = Callable[[], None]


def create(stack: Stack, template: Template, given: Mapping[str, str]) -> None:
    """Create the stack's resources in order; roll back on the first failure.

    Raises:
        TemplateError: the template or its parameters are wrong; nothing was begun.
    """
    values, raw = template.parameter_values(given, stack.stored_parameter)
    check(stack, template, values)
    stack.definition, stack.values, stack.raw_parameters = template, values, raw
    stack.set_status("CREATE_IN_PROGRESS", "User Initiated")
    undo: list[Undo] = []
    try:
        for name in _wanted(stack, template, values):
            _create_one(stack, template, values, name, undo)
        stack.evaluate_outputs(template, values)
    except _EXPECTED as error:
        reason = f"The following resource(s) failed to create: [{_failed_names(stack)}]. "
        if not _failed_names(stack):
            reason = f"{_reason(error)}. "
        if stack.disable_rollback:
            stack.set_status("CREATE_FAILED", reason.strip())
            return
        stack.set_status("ROLLBACK_IN_PROGRESS", reason + "Rollback requested by user.")
        stack.set_status("ROLLBACK_COMPLETE" if _undo(undo) else "ROLLBACK_FAILED")
        stack.resources = {} if stack.status == "ROLLBACK_COMPLETE" else stack.resources
        return
    stack.set_status("CREATE_COMPLETE")


def update(
    stack: Stack, template: Template, given: Mapping[str, str], tags: Mapping[str, str] | None
) -> None:
    """Bring the stack to a new template, parameters and tags; go back on the first failure.

    Raises:
        TemplateError: the template or its parameters are wrong, or nothing would change.
    """
    values, raw = template.parameter_values(given, stack.stored_parameter)
    check(stack, template, values)
    before = (stack.definition, stack.values, stack.raw_parameters, stack.tags)
    assert before[0] is not None, "a stack that exists has a template"
    if tags is not None:
        stack.tags = dict(tags)
    if before == (before[0], values, raw, stack.tags) and before[0].document == template.document:
        raise TemplateError("No updates are to be performed.")
    stack.set_status("UPDATE_IN_PROGRESS", "User Initiated")
    undo: list[Undo] = []
    cleanup: list[StackResource] = []
    try:
        wanted = _wanted(stack, template, values)
        for name in wanted:
            if name in stack.resources:
                _update_one(stack, template, values, name, undo, cleanup)
            else:
                _create_one(stack, template, values, name, undo)
        stack.evaluate_outputs(template, values)
    except _EXPECTED as error:
        failed = _failed_names(stack)
        reason = (
            f"The following resource(s) failed to update: [{failed}]. " if failed else f"{_reason(error)}. "
        )
        stack.set_status("UPDATE_ROLLBACK_IN_PROGRESS", reason.strip())
        stack.definition, stack.values, stack.raw_parameters, stack.tags = before
        stack.set_status("UPDATE_ROLLBACK_COMPLETE" if _undo(undo) else "UPDATE_ROLLBACK_FAILED")
        return
    stack.definition, stack.values, stack.raw_parameters = template, values, raw
    stack.set_status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
    gone = [stack.resources.pop(name) for name in reversed(before[0].order) if _dropped(stack, name, wanted)]
    for old in [*reversed(cleanup), *gone]:
        if old.deletion_policy.startswith("Retain"):
            _retain(stack, old)
            continue
        # As in AWS, an update whose cleanup fails is complete all the same; the event says what stays.
        _delete_one(stack, old)
    stack.set_status("UPDATE_COMPLETE")


def delete(stack: Stack) -> None:
    """Delete the stack's resources, last created first; what is to be retained stays.

    A failure leaves the stack in DELETE_FAILED with the resources that remain, each with its reason.
    """
    stack.set_status("DELETE_IN_PROGRESS", "User Initiated")
    order = stack.definition.order if stack.definition else []
    failed: list[str] = []
    held: set[str] = set()
    for name in reversed([name for name in order if name in stack.resources]):
        entry = stack.resources[name]
        if name in held:
            # What a resource that stays depends on stays with it, untried, as in AWS.
            held.update(stack.definition.dependencies(name) if stack.definition else ())
            continue
        if entry.deletion_policy.startswith("Retain"):
            _retain(stack, entry)
        elif not _delete_one(stack, entry):
            failed.append(name)
            held.update(stack.definition.dependencies(name) if stack.definition else ())
            continue
        del stack.resources[name]
    if failed:
        stack.set_status(
            "DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. "
        )
        return
    stack.own_exports = {}
    stack.set_status("DELETE_COMPLETE")


def check(stack: Stack, template: Template, values: Mapping[str, Any]) -> None:
    """Check what CloudFormation checks before it begins: references, attributes, conditions, known types.

    Raises:
        TemplateError: with everything that is wrong.
    """
    resolver = stack.resolver(template, values)
    problems: list[str] = []
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


def _wanted(stack: Stack, template: Template, values: Mapping[str, Any]) -> list[str]:
    resolver = stack.resolver(template, values)
    chosen = []
    for name in template.order:
        condition = template.resources[name].condition
        if condition is None or resolver.condition(condition):
            chosen.append(name)
    return chosen


def _dropped(stack: Stack, name: str, wanted: list[str]) -> bool:
    return name in stack.resources and name not in wanted


def _handler(stack: Stack, definition: Definition, properties: dict[str, Any]) -> Resource:
    """Return the handler of a type, ours before moto's.

    Raises:
        ResourceFailure: nobody knows the type, or the properties are not those of the type.
    """
    context = stack.context()
    custom = handler_of_custom_resource(context, definition.type, definition.logical_id, properties)
    if custom is not None:
        return custom
    schema = resource_schema(definition.type, stack.region_name)
    if schema is None:
        raise ResourceFailure(f"Unrecognized resource types: [{definition.type}]")
    problems = schema.problems(properties)
    if problems:
        raise ResourceFailure(
            f"Properties validation failed for resource {definition.logical_id} with message: "
            + "; ".join(problems)
        )
    if definition.type in REGISTRY:
        return REGISTRY[definition.type](context, definition.type, definition.logical_id, properties)
    handler = handler_of_moto(context, definition.type, definition.logical_id, properties)
    if handler is None:
        raise ResourceFailure(
            f"the emulator has no handler for the type '{definition.type}'; "
            "add a class for it in tests/emulator/resources"
        )
    return handler


def _create_one(
    stack: Stack, template: Template, values: Mapping[str, Any], name: str, undo: list[Undo]
) -> StackResource:
    definition = template.resources[name]
    stack.add_event(name, "", definition.type, "CREATE_IN_PROGRESS")
    began = time.monotonic()
    try:
        properties = stack.resolver(template, values).resolve(definition.properties)
        handler = _handler(stack, definition, properties)
        handler.create()
    except _EXPECTED as error:
        stack.add_event(name, "", definition.type, "CREATE_FAILED", _reason(error))
        raise
    entry = StackResource(
        logical_resource_id=name,
        cf_resource_type=definition.type,
        handler=handler,
        resource_status="CREATE_COMPLETE",
        deletion_policy=definition.deletion_policy,
        seconds=time.monotonic() - began,
    )
    previous = stack.resources.get(name)

    def remove() -> None:
        if definition.deletion_policy == "Retain":
            _retain(stack, entry)
        elif not _delete_one(stack, entry):
            raise ResourceFailure(f"'{name}' could not be removed")
        if previous is None:
            del stack.resources[name]
        else:
            stack.resources[name] = previous

    undo.append(remove)
    stack.resources[name] = entry
    _event(stack, entry, "CREATE_COMPLETE")
    return entry


def _update_one(
    stack: Stack,
    template: Template,
    values: Mapping[str, Any],
    name: str,
    undo: list[Undo],
    cleanup: list[StackResource],
) -> None:
    definition = template.resources[name]
    entry = stack.resources[name]
    properties = stack.resolver(template, values).resolve(definition.properties)
    before = entry.handler.properties
    tags_before = entry.handler.context.stack_tags
    if entry.cf_resource_type != definition.type:
        raise TemplateError(f"Update of resource type is not permitted. Resource: {name}")
    entry.deletion_policy = definition.deletion_policy
    if properties == before and tags_before == stack.tags:
        return
    schema = resource_schema(definition.type, stack.region_name)
    reasons = sorted(set(schema.replaces(before, properties)) - entry.handler.in_place) if schema else []
    if reasons:
        _event(stack, entry, "UPDATE_IN_PROGRESS", f"Requested update requires a new resource: {reasons}")
        replacement = _create_one(stack, template, values, name, undo)
        entry.deletion_policy = definition.update_replace_policy
        replacement.deletion_policy = definition.deletion_policy
        cleanup.append(entry)
        return
    if properties == before and not entry.handler.carries_tags:
        return
    _event(stack, entry, "UPDATE_IN_PROGRESS")

    def change(to: dict[str, Any], previous: dict[str, Any]) -> None:
        checked = _handler(stack, definition, to)
        entry.handler.context, entry.handler.properties = checked.context, to
        if to == previous:
            entry.handler.apply_tags()
        else:
            entry.handler.update(previous)

    try:
        change(properties, before)
    except _EXPECTED as error:
        entry.handler.properties = before
        _event(stack, entry, "UPDATE_FAILED", _reason(error))
        raise
    undo.append(lambda: change(before, properties))
    _event(stack, entry, "UPDATE_COMPLETE")


def _delete_one(stack: Stack, entry: StackResource) -> bool:
    _event(stack, entry, "DELETE_IN_PROGRESS")
    try:
        entry.handler.delete()
    except _EXPECTED as error:
        _event(stack, entry, "DELETE_FAILED", _reason(error))
        return False
    _event(stack, entry, "DELETE_COMPLETE")
    return True


def _retain(stack: Stack, entry: StackResource) -> None:
    """Leave a resource in place, as its policy asks, and note it."""
    stack.retained.append(entry)
    _event(stack, entry, "DELETE_SKIPPED")


def _undo(steps: list[Undo]) -> bool:
    ok = True
    for step in reversed(steps):
        try:
            step()
        except _EXPECTED as error:
            log.warning("rollback: %s", _reason(error))
            ok = False
    return ok


def _event(stack: Stack, entry: StackResource, status: str, reason: str | None = None) -> None:
    entry.resource_status = status
    stack.add_event(
        entry.logical_resource_id, entry.physical_resource_id, entry.cf_resource_type, status, reason
    )


def _failed_names(stack: Stack) -> str:
    """Return the logical ids that failed since the operation began."""
    names = []
    for event in reversed(stack.events):
        if event.resource_type == "AWS::CloudFormation::Stack":
            break
        if event.resource_status in ("CREATE_FAILED", "UPDATE_FAILED"):
            names.append(event.logical_resource_id)
    return ", ".join(reversed(names))


# A handler's own mistake must fail the stack with a reason, too: a stack left in progress hangs every client.
_EXPECTED = (Exception,)


def _reason(error: BaseException) -> str:
    if isinstance(error, ClientError):
        detail = error.response.get("Error", {})
        return f"{detail.get('Message')} (Service: {error.operation_name}, Error Code: {detail.get('Code')})"
    if isinstance(error, ResourceFailure | TemplateError | BotoCoreError):
        return str(error)
    log.error("a handler failed", exc_info=error)
    return f"the emulator itself failed: {type(error).__name__}: {error}"
