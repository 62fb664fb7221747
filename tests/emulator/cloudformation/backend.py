"""Puts the engine in the place of moto's CloudFormation backend; moto's request and response layer stays."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import boto3
from moto.cloudformation import responses, urls
from moto.cloudformation.exceptions import AlreadyExistsException, ValidationError
from moto.cloudformation.models import CloudFormationBackend, cloudformation_backends
from moto.cloudformation.parsing import Export
from moto.cloudformation.utils import generate_changeset_id, generate_stack_id
from moto.core.utils import utcnow

from tests.emulator.cloudformation import operations
from tests.emulator.cloudformation.change_sets import ChangeSet
from tests.emulator.cloudformation.intrinsics import TemplateError
from tests.emulator.cloudformation.stack import Stack, StackResource, Surroundings
from tests.emulator.cloudformation.template import Template
from tests.emulator.cloudformation.template_url import template_of_url


class Engine(CloudFormationBackend):
    """The CloudFormation of one region of the emulator.

    One operation at a time: handlers call services of this server from within the request.
    """

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._operation = threading.RLock()
        self._live: dict[str, Stack] = {}
        self._gone: dict[str, Stack] = {}
        self._change_sets: dict[str, ChangeSet] = {}

    @property
    def _url_module(self) -> Any:
        # moto looks for the paths beside the module of the class.
        return urls

    def all_stacks(self) -> list[Stack]:
        """Return every stack, deleted ones included."""
        return [*self._live.values(), *self._gone.values()]

    def create_stack(  # type: ignore[override]
        self,
        name: str,
        template: str,
        parameters: dict[str, Any],
        notification_arns: list[str] | None = None,
        tags: dict[str, str] | None = None,
        role_arn: str | None = None,
        enable_termination_protection: bool | None = False,
        timeout_in_mins: int | None = None,
        stack_policy_body: str | None = None,
    ) -> Stack:
        """Create a stack; it ends in CREATE_COMPLETE or, with reasons in its events, ROLLBACK_COMPLETE."""
        with self._operation:
            if any(stack.name == name for stack in self._live.values()):
                raise AlreadyExistsException(f"Stack [{name}] already exists")
            stack = self._new_stack(name, tags or {}, role_arn, notification_arns)
            stack.enable_termination_protection = bool(enable_termination_protection)
            stack.timeout_in_minutes = timeout_in_mins
            stack.policy = stack_policy_body or ""
            self._live[stack.stack_id] = stack
            try:
                operations.create(stack, Template(template), parameters)
            except TemplateError as error:
                del self._live[stack.stack_id]
                raise ValidationError(message=str(error)) from error
            return stack

    def update_stack(  # type: ignore[override]
        self,
        name: str,
        template: str,
        role_arn: str | None,
        parameters: list[dict[str, Any]],
        tags: dict[str, str] | None,
    ) -> Stack:
        """Update a stack; it ends in UPDATE_COMPLETE or UPDATE_ROLLBACK_COMPLETE."""
        with self._operation:
            stack = self.get_stack(name)
            given = {
                item["ParameterKey"]: (
                    stack.raw_parameters[item["ParameterKey"]]
                    if str(item.get("UsePreviousValue", "")).lower() == "true"
                    else item["ParameterValue"]
                )
                for item in parameters
            }
            self._update(stack, template, given, tags)
            return stack

    def delete_stack(self, name_or_stack_id: str) -> None:
        """Delete a stack; what another stack imports, or what cannot be deleted, leaves it in DELETE_FAILED.

        As in AWS, deleting what does not exist is no error.
        """
        with self._operation:
            found = [s for s in self._live.values() if name_or_stack_id in (s.name, s.stack_id)]
            if not found:
                return
            stack = found[0]
            if stack.enable_termination_protection:
                raise ValidationError(
                    message=f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
                )
            for other in self._live.values():
                used = other is not stack and sorted(other.imports() & set(stack.own_exports))
                if used:
                    stack.set_status("DELETE_IN_PROGRESS", "User Initiated")
                    stack.set_status(
                        "DELETE_FAILED", f"Cannot delete export {used[0]} as it is in use by {other.name}."
                    )
                    return
            operations.delete(stack)
            if stack.status == "DELETE_COMPLETE":
                stack.deletion_time = utcnow()
                self._gone[stack.stack_id] = self._live.pop(stack.stack_id)

    def create_change_set(
        self,
        stack_name: str,
        change_set_name: str,
        template: str,
        parameters: dict[str, str],
        description: str,
        change_set_type: str,
        notification_arns: list[str] | None = None,
        tags: dict[str, str] | None = None,
        role_arn: str | None = None,
    ) -> tuple[str, str]:
        """Record a change set; a stack that does not exist yet is entered in REVIEW_IN_PROGRESS."""
        with self._operation:
            try:
                definition = Template(template)
            except TemplateError as error:
                raise ValidationError(message=str(error)) from error
            live = [stack for stack in self._live.values() if stack_name in (stack.name, stack.stack_id)]
            if live:
                stack = live[0]
            elif change_set_type == "UPDATE":
                raise ValidationError(stack_name)
            else:
                stack = self._new_stack(stack_name, tags or {}, role_arn, notification_arns)
                self._live[stack.stack_id] = stack
                stack.set_status("REVIEW_IN_PROGRESS", "User Initiated")
            change_set_id = generate_changeset_id(change_set_name, self.region_name, self.account_id)
            self._change_sets[change_set_id] = ChangeSet(
                change_set_id,
                change_set_name,
                change_set_type,
                stack,
                definition,
                parameters,
                description,
                tags or {},
            )
            return change_set_id, stack.stack_id

    def describe_change_set(self, change_set_name: str) -> ChangeSet:  # type: ignore[override]
        """Return a change set by name or ARN.

        Raises:
            ValidationError: there is none.
        """
        for change_set in reversed(self._change_sets.values()):
            if change_set_name in (change_set.change_set_id, change_set.change_set_name):
                return change_set
        raise ValidationError(message=f"ChangeSet [{change_set_name}] does not exist")

    def delete_change_set(self, change_set_name: str) -> None:
        """Forget a change set."""
        del self._change_sets[self.describe_change_set(change_set_name).change_set_id]

    def list_change_sets(self) -> list[ChangeSet]:  # type: ignore[override]
        """Return all change sets."""
        return list(self._change_sets.values())

    def execute_change_set(self, change_set_name: str, stack_name: str | None = None) -> None:
        """Apply a change set to its stack."""
        with self._operation:
            change_set = self.describe_change_set(change_set_name)
            stack = change_set.stack
            if stack.status == "REVIEW_IN_PROGRESS":
                try:
                    operations.create(stack, change_set.definition, change_set.parameters)
                except TemplateError as error:
                    stack.set_status("CREATE_FAILED", str(error))
            else:
                self._update(stack, change_set.definition.text, change_set.parameters, change_set.tags)
            change_set.execution_status = "EXECUTE_COMPLETE"

    def describe_stacks(self, name_or_stack_id: str) -> list[Stack]:  # type: ignore[override]
        """Return one stack, or all that live."""
        return [self.get_stack(name_or_stack_id)] if name_or_stack_id else list(self._live.values())

    def list_stacks(self, status_filter: list[str] | None = None) -> list[Stack]:  # type: ignore[override]
        """Return all stacks, deleted ones too, of the statuses asked for."""
        return [stack for stack in self.all_stacks() if not status_filter or stack.status in status_filter]

    def get_stack(self, name_or_stack_id: str) -> Stack:  # type: ignore[override]
        """Return a stack by name or id; a deleted one by id only.

        Raises:
            ValidationError: there is none.
        """
        for stack in self._live.values():
            if name_or_stack_id in (stack.name, stack.stack_id):
                return stack
        if name_or_stack_id in self._gone:
            return self._gone[name_or_stack_id]
        raise ValidationError(name_or_stack_id)

    def describe_stack_resource(  # type: ignore[override]
        self, stack_name: str, logical_resource_id: str
    ) -> tuple[Stack, StackResource]:
        """Return one resource of a stack."""
        stack, found = self.describe_stack_resources(stack_name, logical_resource_id)
        if not found:
            raise ValidationError(
                message=f"Resource {logical_resource_id} does not exist for stack {stack_name}"
            )
        return stack, found[0]

    def describe_stack_resources(  # type: ignore[override]
        self, stack_name: str, logical_resource_id: str | None
    ) -> tuple[Stack, list[StackResource]]:
        """Return the resources of a stack."""
        stack = self.get_stack(stack_name)
        wanted = [
            entry
            for entry in stack.stack_resources
            if logical_resource_id in (None, entry.logical_resource_id)
        ]
        return stack, wanted

    def list_exports(self, tokenstr: str | None) -> tuple[list[Export], str | None]:
        """Return all exports in one page."""
        return list(self.live_exports().values()), None

    def live_exports(self) -> dict[str, Export]:
        """Return the exports of all stacks by name."""
        return {name: export for stack in self._live.values() for name, export in stack.own_exports.items()}

    def _new_stack(
        self, name: str, tags: Mapping[str, str], role_arn: str | None, notification_arns: list[str] | None
    ) -> Stack:
        return Stack(
            stack_id=generate_stack_id(name, self.region_name, self.account_id),
            name=name,
            region=self.region_name,
            account=self.account_id,
            surroundings=Surroundings(lambda service: _client(service, self.region_name), self.live_exports),
            tags=tags,
            role_arn=role_arn,
            notification_arns=notification_arns,
        )

    def _update(
        self, stack: Stack, template: str, given: Mapping[str, str], tags: Mapping[str, str] | None
    ) -> None:
        if not stack.status.endswith("COMPLETE") or stack.status == "ROLLBACK_COMPLETE":
            raise ValidationError(
                message=f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated."
            )
        try:
            operations.update(stack, Template(template), given, tags)
        except TemplateError as error:
            raise ValidationError(message=str(error)) from error
        stack.last_updated_time = utcnow()


def install() -> None:
    """Make moto's server use the engine for CloudFormation."""
    cloudformation_backends.backend = Engine
    setattr(responses, "get_stack_from_s3_url", template_of_url)  # noqa: B010 mypy refuses the plain form


@lru_cache
def _client(service: str, region: str) -> Any:
    """Return a client for this server: its endpoint stands in AWS_ENDPOINT_URL."""
    return boto3.client(service, region_name=region)  # type: ignore[call-overload]
