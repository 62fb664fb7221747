"""CloudFormation for tests: small templates in, statuses, reasons and outputs out."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
from collections.abc import Iterator
from typing import Any

from emulator.server import Emulator, LedgerStack

Template = dict[str, Any]


class Formation:
    """Creates stacks in an emulator under fresh names and deletes them in the end."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.client = emulator.client("cloudformation")
        self._numbers = itertools.count(1)
        self._ids: dict[str, str] = {}

    def name(self) -> str:
        """Return a stack name that nobody has."""
        taken = {stack.name for stack in self.emulator.ledger()}
        return next(name for number in self._numbers if (name := f"test-{number}") not in taken)

    def create(self, template: Template, name: str | None = None, **more: Any) -> str:
        """Create a stack and return its name; look at `status` for how it went."""
        name = name or self.name()
        answer = self.client.create_stack(StackName=name, TemplateBody=json.dumps(template), **more)
        self._ids[name] = answer["StackId"]
        return name

    def adopt(self, name: str, stack_id: str) -> None:
        """Take a stack that was not made by `create`: it is deleted in the end, too."""
        self._ids[name] = stack_id

    def created(self, template: Template, **more: Any) -> str:
        """Create a stack, see that it is complete, and return its name."""
        name = self.create(template, **more)
        assert self.status(name) == "CREATE_COMPLETE", self.reasons(name)
        return name

    def update(self, name: str, template: Template, **more: Any) -> str:
        """Update a stack and return its status."""
        self.client.update_stack(StackName=name, TemplateBody=json.dumps(template), **more)
        return self.status(name)

    def delete(self, name: str) -> str:
        """Delete a stack and return its status."""
        self.client.delete_stack(StackName=name)
        return self.status(name)

    def status(self, name: str) -> str:
        """Return the status of a stack of ours, a deleted one too."""
        found: str = self.client.describe_stacks(StackName=self._ids[name])["Stacks"][0]["StackStatus"]
        return found

    def reasons(self, name: str) -> str:
        """Return the reasons of everything that failed in a stack, a line each."""
        events = self.client.describe_stack_events(StackName=self._ids[name])["StackEvents"]
        lines = [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in reversed(events)
            if event["ResourceStatus"].endswith("FAILED") and event.get("ResourceStatusReason")
        ]
        return "\n".join(lines)

    def outputs(self, name: str) -> dict[str, str]:
        """Return the outputs of a stack."""
        stack = self.client.describe_stacks(StackName=self._ids[name])["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def ledger(self, name: str) -> LedgerStack:
        """Return the emulator's ledger of a stack of ours."""
        return next(stack for stack in self.emulator.ledger() if stack.id == self._ids[name])

    def physical_id(self, name: str, logical_id: str) -> str:
        """Return what Ref gives for a resource of a stack."""
        return next(
            entry.physical_id for entry in self.ledger(name).resources if entry.logical_id == logical_id
        )

    @contextlib.contextmanager
    def deployed(self, template: Template, **more: Any) -> Iterator[str]:
        """Create a stack for the body, and delete it after; both must succeed."""
        name = self.created(template, **more)
        yield name
        assert self.delete(name) == "DELETE_COMPLETE", self.reasons(name)

    def clean(self) -> None:
        """Delete what a failed test left, newest first."""
        for name in reversed(self._ids):
            with contextlib.suppress(Exception):
                self.client.delete_stack(StackName=name)


def resources(**definitions: tuple[str, dict[str, Any]]) -> Template:
    """Return a template of resources given as logical id = (type, properties), copied: tests change them."""
    definitions = copy.deepcopy(definitions)
    return {
        "Resources": {
            name: {"Type": kind, "Properties": given} for name, (kind, given) in definitions.items()
        }
    }


def ref(name: str) -> dict[str, str]:
    """Return Ref."""
    return {"Ref": name}


def att(name: str, attribute: str) -> dict[str, list[str]]:
    """Return Fn::GetAtt."""
    return {"Fn::GetAtt": [name, attribute]}
