"""Create, update and delete a stack: the order, the rollback and the clean-up of CloudFormation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emulator.cloudformation.checks import check
from emulator.cloudformation.failures import EXPECTED, log, reason
from emulator.cloudformation.stack import Stack, StackResource
from emulator.cloudformation.steps import (
    Undo,
    clean_up_resource,
    create_resource,
    delete_resource,
    retain,
    update_resource,
)
from emulator.cloudformation.template import Template


@dataclass(frozen=True)
class Plan:
    """A template that passed CloudFormation's checks, with its parameter values, for one stack.

    `values` are what functions see, `raw` what the caller gave; `tags` None keeps the stack's tags.
    """

    template: Template
    values: dict[str, Any]
    raw: dict[str, str]
    tags: Mapping[str, str] | None

    def changes(self, stack: Stack) -> bool:
        """Return whether the stack differs from the plan."""
        return (
            stack.definition is None
            or stack.definition.document != self.template.document
            or (stack.values, stack.raw_parameters) != (self.values, self.raw)
            or (self.tags is not None and dict(self.tags) != stack.tags)
        )


def plan(stack: Stack, template: Template, given: Mapping[str, str], tags: Mapping[str, str] | None) -> Plan:
    """Check a template and its parameters for a stack.

    Raises:
        TemplateError: with everything that is wrong.
    """
    values, raw = template.parameter_values(given, stack.stored_parameter)
    check(stack, template, values)
    return Plan(template, values, raw, tags)


def create(stack: Stack, target: Plan) -> None:
    """Create the stack's resources in order; roll back on the first failure. It raises nothing."""
    template, values = target.template, target.values
    stack.definition, stack.values, stack.raw_parameters = template, values, target.raw
    stack.tags = dict(target.tags or {})
    stack.set_status("CREATE_IN_PROGRESS", "User Initiated")
    with _ended(stack, "ROLLBACK_FAILED"):
        undo: list[Undo] = []
        try:
            for name in _active_resources(stack, template, values):
                create_resource(stack, template, values, name, undo)
            stack.evaluate_outputs(template, values)
        except EXPECTED as error:
            stack.set_status(
                "ROLLBACK_IN_PROGRESS", _summary(stack, "create", error) + " Rollback requested by user."
            )
            stack.set_status("ROLLBACK_COMPLETE" if _undo(undo) else "ROLLBACK_FAILED")
            stack.resources = {} if stack.status == "ROLLBACK_COMPLETE" else stack.resources
            return
        stack.set_status("CREATE_COMPLETE")


def update(stack: Stack, target: Plan) -> None:
    """Bring the stack to a new template, parameters and tags; go back on the first failure. It raises nothing."""
    template, values = target.template, target.values
    before = (stack.definition, stack.values, stack.raw_parameters, stack.tags)
    if target.tags is not None:
        stack.tags = dict(target.tags)
    stack.set_status("UPDATE_IN_PROGRESS", "User Initiated")
    with _ended(stack, "UPDATE_ROLLBACK_FAILED"):
        undo: list[Undo] = []
        cleanup: list[StackResource] = []
        try:
            chosen = _active_resources(stack, template, values)
            for name in chosen:
                if name in stack.resources:
                    update_resource(stack, template, values, name, undo, cleanup)
                else:
                    create_resource(stack, template, values, name, undo)
            stack.evaluate_outputs(template, values)
        except EXPECTED as error:
            stack.set_status("UPDATE_ROLLBACK_IN_PROGRESS", _summary(stack, "update", error))
            stack.definition, stack.values, stack.raw_parameters, stack.tags = before
            undone = _undo(undo)
            _clean_up(stack)
            stack.set_status("UPDATE_ROLLBACK_COMPLETE" if undone else "UPDATE_ROLLBACK_FAILED")
            return
        stack.definition, stack.values, stack.raw_parameters = template, values, target.raw
        stack.set_status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        _clean_up(stack)
        order = before[0].order if before[0] else []
        gone = [stack.resources.pop(name) for name in reversed(order) if _dropped(stack, name, chosen)]
        for old in [*reversed(cleanup), *gone]:
            if old.deletion_policy.startswith("Retain"):
                retain(stack, old)
                continue
            # As in AWS, an update whose cleanup fails is complete all the same; the event says what stays.
            delete_resource(stack, old)
        stack.set_status("UPDATE_COMPLETE")


def delete(stack: Stack) -> None:
    """Delete the stack's resources, last created first; what is to be retained stays. It raises nothing.

    A stack whose export another one imports keeps its status and its resources, as in AWS, and the event says why.
    Another failure leaves it in DELETE_FAILED with the resources that remain, each with its reason.
    """
    before = stack.status
    stack.set_status("DELETE_IN_PROGRESS", "User Initiated")
    with _ended(stack, "DELETE_FAILED"):
        used = stack.export_in_use()
        if used is not None:
            stack.set_status(before, used)
            return
        failed = _delete_resources(stack)
        if failed:
            stack.set_status(
                "DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. "
            )
            return
        stack.own_exports = {}
        stack.set_status("DELETE_COMPLETE")


def _delete_resources(stack: Stack) -> list[str]:
    """Delete what can be deleted, and return the logical ids of what could not."""
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
            retain(stack, entry)
        elif not delete_resource(stack, entry):
            failed.append(name)
            held.update(stack.definition.dependencies(name) if stack.definition else ())
            continue
        del stack.resources[name]
    return failed


@contextlib.contextmanager
def _ended(stack: Stack, status: str) -> Iterator[None]:
    """Set a failed status with the reason where the engine itself fails: a stack in progress hangs every client."""
    try:
        yield
    except EXPECTED as error:
        stack.set_status(status, reason(error))


def _active_resources(stack: Stack, template: Template, values: Mapping[str, Any]) -> list[str]:
    resolver = stack.resolver(template, values)
    chosen = []
    for name in template.order:
        condition = template.resources[name].condition
        if condition is None or resolver.condition(condition):
            chosen.append(name)
    return chosen


def _clean_up(stack: Stack) -> None:
    for entry in stack.stack_resources:
        clean_up_resource(stack, entry)


def _dropped(stack: Stack, name: str, active: list[str]) -> bool:
    return name in stack.resources and name not in active


def _undo(steps: list[Undo]) -> bool:
    ok = True
    for step in reversed(steps):
        try:
            step()
        except EXPECTED as error:
            log.warning("rollback: %s", reason(error))
            ok = False
    return ok


def _summary(stack: Stack, verb: str, error: BaseException) -> str:
    """Return the stack's own reason: which resources failed since the operation began, or what else did."""
    names = []
    for event in reversed(stack.events):
        if event.resource_type == "AWS::CloudFormation::Stack":
            break
        if event.resource_status in ("CREATE_FAILED", "UPDATE_FAILED"):
            names.append(event.logical_resource_id)
    if not names:
        return reason(error).rstrip(".") + "."
    return f"The following resource(s) failed to {verb}: [{', '.join(reversed(names))}]."
