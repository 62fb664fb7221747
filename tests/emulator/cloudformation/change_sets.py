"""Change sets: templates that wait to be applied."""

from __future__ import annotations

from moto.cloudformation.models import Change
from moto.core.utils import utcnow

from tests.emulator.cloudformation.stack import Stack
from tests.emulator.cloudformation.template import Template


class ChangeSet:
    """A change set: a template and parameters that wait to be applied to a stack."""

    def __init__(
        self,
        change_set_id: str,
        name: str,
        kind: str,
        stack: Stack,
        template: Template,
        parameters: dict[str, str],
        description: str | None,
        tags: dict[str, str],
    ) -> None:
        self.change_set_id = change_set_id
        self.change_set_name = name
        self.change_set_type = kind
        self.stack = stack
        self.stack_id = stack.stack_id
        self.stack_name = stack.name
        self.definition = template
        self.parameters = parameters
        self.description = description
        self.tags = tags
        self.notification_arns: list[str] = []
        self.creation_time = utcnow()
        self.changes = _changes(stack, template)
        unchanged = (
            kind == "UPDATE"
            and stack.definition is not None
            and (stack.definition.document == template.document)
        )
        self.status = "FAILED" if unchanged else "CREATE_COMPLETE"
        self.execution_status = "UNAVAILABLE" if unchanged else "AVAILABLE"
        self.status_reason = (
            "The submitted information didn't contain changes. "
            "Submit different information to create a change set."
            if unchanged
            else None
        )


def _changes(stack: Stack, template: Template) -> list[Change]:
    old = stack.definition.document["Resources"] if stack.definition else {}
    new = template.document["Resources"]
    changes = [Change("Add", name, new[name]["Type"]) for name in new if name not in old]
    changes += [
        Change("Modify", name, new[name]["Type"]) for name in new if name in old and new[name] != old[name]
    ]
    return changes + [Change("Remove", name, old[name]["Type"]) for name in old if name not in new]
