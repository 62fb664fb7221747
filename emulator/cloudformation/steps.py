"""One resource of a stack: created, updated, replaced, deleted, with events and rollback."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from emulator.cloudformation.failures import EXPECTED, reason
from emulator.cloudformation.intrinsics import TemplateError
from emulator.cloudformation.schema import ResourceSchema, resource_schema
from emulator.cloudformation.stack import Stack, StackResource
from emulator.cloudformation.template import Definition, Template
from emulator.custom_resources import handler_of_custom_resource
from emulator.refusals import refused
from emulator.resources import REGISTRY, Resource, ResourceFailure
from emulator.resources.moto_models import handler_of_moto

Undo = Callable[[], None]


def create_resource(
    stack: Stack, template: Template, values: Mapping[str, Any], name: str, undo: list[Undo]
) -> StackResource:
    """Create a resource and add its rollback to `undo`; one that exists under the name is replaced by it.

    Raises:
        Exception: whatever failed, after the event with the reason.
    """
    definition = template.resources[name]
    stack.add_event(name, "", definition.type, "CREATE_IN_PROGRESS")
    began = time.monotonic()
    handler: Resource | None = None
    try:
        properties = stack.resolver(template, values).resolve(definition.properties)
        handler = _handler(stack, definition, properties)
        handler.create()
    except EXPECTED as error:
        stack.add_event(name, "", definition.type, "CREATE_FAILED", reason(error))
        if handler is not None and handler.physical_id:
            # It failed halfway: what exists already must not stay.
            with contextlib.suppress(*EXPECTED):
                handler.delete()
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
            retain(stack, entry)
        elif not delete_resource(stack, entry):
            raise ResourceFailure(f"'{name}' could not be removed")
        if previous is None:
            del stack.resources[name]
        else:
            stack.resources[name] = previous

    undo.append(remove)
    stack.resources[name] = entry
    _event(stack, entry, "CREATE_COMPLETE")
    return entry


def update_resource(
    stack: Stack,
    template: Template,
    values: Mapping[str, Any],
    name: str,
    undo: list[Undo],
    cleanup: list[StackResource],
) -> None:
    """Bring a resource to the template, in place or by a new one, in which case the old goes to `cleanup`.

    Raises:
        Exception: whatever failed, after the event with the reason.
    """
    definition = template.resources[name]
    entry = stack.resources[name]
    properties = stack.resolver(template, values).resolve(definition.properties)
    before = entry.handler.properties
    tags_before = entry.handler.context.stack_tags
    if entry.cf_resource_type != definition.type:
        raise TemplateError(f"Update of resource type is not permitted. Resource: {name}")
    policy = entry.deletion_policy

    def keep_policy() -> None:
        entry.deletion_policy = policy

    undo.append(keep_policy)
    entry.deletion_policy = definition.deletion_policy
    if properties == before and tags_before == stack.tags:
        return
    schema = resource_schema(definition.type, stack.region_name)
    reasons = sorted(set(schema.replaces(before, properties)) - entry.handler.in_place) if schema else []
    reasons += entry.handler.replaced_by(properties)
    if reasons:
        _check_new_name(stack, entry, schema, before, properties)
        _event(stack, entry, "UPDATE_IN_PROGRESS", f"Requested update requires a new resource: {reasons}")
        replacement = create_resource(stack, template, values, name, undo)
        entry.deletion_policy = definition.update_replace_policy
        replacement.deletion_policy = definition.deletion_policy
        cleanup.append(entry)
        return
    if properties == before and not entry.handler.carries_tags:
        return
    _event(stack, entry, "UPDATE_IN_PROGRESS")

    def change(to: dict[str, Any], previous: dict[str, Any]) -> None:
        checked = _handler(stack, definition, to, entry.physical_resource_id)
        entry.handler.context, entry.handler.properties = checked.context, to
        if to == previous:
            entry.handler.apply_tags()
        else:
            entry.handler.update(previous)

    try:
        change(properties, before)
    except EXPECTED as error:
        entry.handler.properties = before
        _event(stack, entry, "UPDATE_FAILED", reason(error))
        raise
    undo.append(lambda: change(before, properties))
    _event(stack, entry, "UPDATE_COMPLETE")


def _check_new_name(
    stack: Stack,
    entry: StackResource,
    schema: ResourceSchema | None,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    """Refuse a replacement under the old one's own name: CloudFormation creates the new one first.

    Raises:
        ResourceFailure: in CloudFormation's words, after the event.
    """
    identity = schema.given_identity(after) if schema else None
    if schema is None or identity is None or identity != schema.given_identity(before):
        return
    error = ResourceFailure(
        "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
        f"Rename {'|'.join(map(str, identity))} and update the stack again."
    )
    _event(stack, entry, "UPDATE_FAILED", str(error))
    raise error


def delete_resource(stack: Stack, entry: StackResource) -> bool:
    """Delete a resource; return whether it is gone. The event says why not."""
    _event(stack, entry, "DELETE_IN_PROGRESS")
    try:
        entry.handler.delete()
    except EXPECTED as error:
        _event(stack, entry, "DELETE_FAILED", reason(error))
        return False
    _event(stack, entry, "DELETE_COMPLETE")
    return True


def clean_up_resource(stack: Stack, entry: StackResource) -> None:
    """Remove what updates in place put out of use; as in AWS, a failure is an event and no more."""
    try:
        entry.handler.clean_up()
    except EXPECTED as error:
        stack.add_event(entry.logical_resource_id, "", entry.cf_resource_type, "DELETE_FAILED", reason(error))


def retain(stack: Stack, entry: StackResource) -> None:
    """Leave a resource in place, as its policy asks, and note it."""
    stack.retained.append(entry)
    _event(stack, entry, "DELETE_SKIPPED")


def _handler(
    stack: Stack, definition: Definition, properties: dict[str, Any], physical_id: str = ""
) -> Resource:
    """Return the handler of a type, ours before moto's; `physical_id` is what it is to update.

    Raises:
        ResourceFailure: the type is unknown, the properties are not those of the type, or AWS refuses them.
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
        handler = REGISTRY[definition.type](context, definition.type, definition.logical_id, properties)
    else:
        found = handler_of_moto(context, definition.type, definition.logical_id, properties)
        if found is None:
            raise ResourceFailure(
                f"the emulator has no handler for the type '{definition.type}'; "
                "add a class for it in emulator/resources"
            )
        handler = found
    # What exists under the name is known to the refusals: it does not conflict with itself.
    handler.physical_id = physical_id
    reasons = refused(handler)
    if reasons:
        raise ResourceFailure("; ".join(reasons))
    handler.physical_id = ""
    return handler


def _event(stack: Stack, entry: StackResource, status: str, reason: str | None = None) -> None:
    entry.resource_status = status
    stack.add_event(
        entry.logical_resource_id, entry.physical_resource_id, entry.cf_resource_type, status, reason
    )
