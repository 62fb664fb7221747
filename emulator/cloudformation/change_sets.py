"""Change sets: plans that wait to be applied to a stack, and what they say would change.

Source: CloudFormation API reference, CreateChangeSet, DescribeChangeSet, ExecuteChangeSet and ResourceChange.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moto.cloudformation.exceptions import CloudFormationError
from moto.core.utils import utcnow

from emulator.cloudformation.operations import Plan
from emulator.cloudformation.schema import resource_schema
from emulator.cloudformation.stack import Stack
from emulator.cloudformation.template import Definition, references
from emulator.resources import REGISTRY

_NOTHING = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)


class ChangeSetNotFound(CloudFormationError):
    """A stack has no change set of that name, or there is no such stack."""

    code = "ChangeSetNotFoundException"

    def __init__(self, name: str) -> None:
        super().__init__(f"ChangeSet [{name}] does not exist")


class InvalidChangeSetStatus(CloudFormationError):
    """A change set cannot be executed: it contains nothing, or was executed."""

    code = "InvalidChangeSetStatusException"

    def __init__(self, change_set: ChangeSet) -> None:
        super().__init__(
            f"ChangeSet [{change_set.change_set_id}] cannot be executed in its current execution status of "
            f"[{change_set.execution_status}]"
        )


class ChangeSet:
    """A plan for a stack under a name of its own within that stack."""

    def __init__(
        self, change_set_id: str, name: str, kind: str, stack: Stack, plan: Plan, description: str | None
    ) -> None:
        self.change_set_id = change_set_id
        self.name = name
        self.stack = stack
        self.plan = plan
        self.description = description
        self.created = utcnow()
        self.changes = list(_changes(stack, plan))
        self._reason = None if kind == "CREATE" or plan.changes(stack) else _NOTHING
        self.status = "FAILED" if self._reason else "CREATE_COMPLETE"
        self.execution_status = "UNAVAILABLE" if self._reason else "AVAILABLE"

    def summary(self) -> dict[str, Any]:
        """Return it as ListChangeSets does."""
        return {
            "ChangeSetId": self.change_set_id,
            "ChangeSetName": self.name,
            "StackId": self.stack.stack_id,
            "StackName": self.stack.name,
            "Description": self.description,
            "CreationTime": self.created,
            "Status": self.status,
            "StatusReason": self._reason,
            "ExecutionStatus": self.execution_status,
        }

    def describe(self) -> dict[str, Any]:
        """Return it as DescribeChangeSet does, `Parameters` as moto's response layer takes them."""
        tags = self.stack.tags if self.plan.tags is None else self.plan.tags
        return {
            **self.summary(),
            "Parameters": self.plan.raw,
            "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            "Changes": self.changes,
        }


def _changes(stack: Stack, plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield what a plan would do to each resource, as far as the templates tell before anything is resolved."""
    old = stack.definition.resources if stack.definition else {}
    new = plan.template.resources
    changed = {name for name, value in plan.raw.items() if stack.raw_parameters.get(name) != value}
    for name in plan.template.order:
        if name not in old:
            yield _change("Add", stack, new[name])
            continue
        details, replacement = _details(stack, old[name], new[name], changed)
        if details or old[name] != new[name]:
            yield {
                **_change("Modify", stack, new[name]),
                "Replacement": replacement,
                "Scope": sorted({item["Target"]["Attribute"] for item in details}),
                "Details": details,
            }
        if replacement != "False":
            changed.add(name)
    for name in reversed(stack.definition.order if stack.definition else []):
        if name not in new:
            yield _change("Remove", stack, old[name])


def _change(action: str, stack: Stack, definition: Definition) -> dict[str, Any]:
    held = stack.resources.get(definition.logical_id)
    return {
        "Action": action,
        "LogicalResourceId": definition.logical_id,
        "ResourceType": definition.type,
        "PhysicalResourceId": held.physical_resource_id if held else None,
    }


def _details(
    stack: Stack, old: Definition, new: Definition, changed: set[str]
) -> tuple[list[dict[str, Any]], str]:
    """Return the properties that change, by themselves or through what they refer to, and the replacement."""
    schema = resource_schema(new.type, stack.region_name)
    handler = REGISTRY.get(new.type)
    create_only = (schema.create_only if schema else set()) - (handler.in_place if handler else set())
    replaced = set(schema.replaces(old.properties, new.properties)) & create_only if schema else set()
    details: list[dict[str, Any]] = []
    verdicts = {"False"}
    for name in sorted({*old.properties, *new.properties}):
        through = sorted(set(references(new.properties.get(name))) & changed)
        direct = old.properties.get(name) != new.properties.get(name)
        if not direct and not through:
            continue
        if name in replaced:
            recreation, verdict = "Always", "True"
        elif name in create_only and through:
            recreation, verdict = "Conditionally", "Conditional"
        else:
            recreation, verdict = "Never", "False"
        verdicts.add(verdict)
        target = {"Attribute": "Tags" if name == "Tags" else "Properties", "RequiresRecreation": recreation}
        if name != "Tags":
            target["Name"] = name
        details.append(
            {
                "Target": target,
                "Evaluation": "Static" if direct else "Dynamic",
                "ChangeSource": "DirectModification" if direct else "ResourceReference",
                "CausingEntity": None if direct else through[0],
            }
        )
    return details, next(item for item in ("True", "Conditional", "False") if item in verdicts)
