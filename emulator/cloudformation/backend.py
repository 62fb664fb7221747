"""Puts the engine in the place of moto's CloudFormation backend; moto's request and response layer stays."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config
from moto.cloudformation import responses, urls
from moto.cloudformation.exceptions import AlreadyExistsException, ValidationError
from moto.cloudformation.models import CloudFormationBackend, cloudformation_backends
from moto.cloudformation.parsing import Export
from moto.cloudformation.utils import generate_changeset_id, generate_stack_id
from moto.core.utils import utcnow

from emulator.cloudformation import change_set_requests, operations
from emulator.cloudformation.change_sets import ChangeSet, ChangeSetNotFound, InvalidChangeSetStatus
from emulator.cloudformation.intrinsics import TemplateError
from emulator.cloudformation.stack import Stack, StackEnvironment, StackResource
from emulator.cloudformation.template import Template
from emulator.cloudformation.template_url import template_of_url
from emulator.moto_patches import put

_ANSWER_SECONDS = 300


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
            stack = self._new_stack(name, role_arn, notification_arns)
            stack.enable_termination_protection = bool(enable_termination_protection)
            stack.timeout_in_minutes = timeout_in_mins
            stack.policy = stack_policy_body or ""
            plan = _plan(stack, template, parameters, tags)
            self._live[stack.stack_id] = stack
            operations.create(stack, plan)
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
            _check_updatable(stack)
            plan = _plan(stack, template, _given(stack, parameters), tags)
            if not plan.changes(stack):
                raise ValidationError(message="No updates are to be performed.")
            self._update(stack, plan)
            return stack

    def delete_stack(self, name_or_stack_id: str) -> None:
        """Delete a stack; one whose export is imported stays as it is, and the event says why.

        As in AWS, deleting what does not exist is no error.
        """
        with self._operation:
            stack = self._found(name_or_stack_id)
            if stack is None:
                return
            if stack.enable_termination_protection:
                raise ValidationError(
                    message=f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
                )
            operations.delete(stack)
            if stack.status == "DELETE_COMPLETE":
                stack.deletion_time = utcnow()
                self._gone[stack.stack_id] = self._live.pop(stack.stack_id)
                self._forget_change_sets(stack)

    def create_change_set(  # type: ignore[override]
        self,
        stack_name: str,
        change_set_name: str,
        template: str | None,
        parameters: list[dict[str, Any]],
        description: str | None,
        change_set_type: str,
        notification_arns: list[str] | None = None,
        tags: dict[str, str] | None = None,
        role_arn: str | None = None,
    ) -> ChangeSet:
        """Record a change set; a stack that does not exist yet is entered in REVIEW_IN_PROGRESS.

        `template` None means that of the stack.
        """
        with self._operation:
            stack = self._found(stack_name)
            if change_set_type == "UPDATE":
                if stack is None:
                    raise ValidationError(message=f"Stack [{stack_name}] does not exist")
                _check_updatable(stack)
            elif change_set_type != "CREATE":
                raise ValidationError(message=f"the emulator knows no change sets of type {change_set_type}")
            elif stack is None:
                stack = self._new_stack(stack_name, role_arn, notification_arns)
            elif stack.status != "REVIEW_IN_PROGRESS":
                raise ValidationError(
                    message=f"Stack [{stack_name}] already exists and cannot be created again with the changeSet "
                    f"[{change_set_name}]."
                )
            waiting = self._change_sets_of(stack)
            if any(
                one.name == change_set_name and one.execution_status != "EXECUTE_COMPLETE" for one in waiting
            ):
                raise AlreadyExistsException(f"ChangeSet {change_set_name} already exists")
            plan = _plan(
                stack, stack.template if template is None else template, _given(stack, parameters), tags
            )
            if stack.stack_id not in self._live:
                self._live[stack.stack_id] = stack
                stack.set_status("REVIEW_IN_PROGRESS", "User Initiated")
            change_set_id = generate_changeset_id(change_set_name, self.region_name, self.account_id)
            made = ChangeSet(change_set_id, change_set_name, change_set_type, stack, plan, description)
            self._change_sets[change_set_id] = made
            return made

    def describe_change_set(self, change_set_name: str, stack_name: str | None = None) -> ChangeSet:  # type: ignore[override]
        """Return a change set by its name within a stack, or by its ARN.

        Raises:
            ChangeSetNotFound: there is none.
            ValidationError: a name was given without a stack.
        """
        if change_set_name in self._change_sets:
            return self._change_sets[change_set_name]
        if stack_name is None and not change_set_name.startswith("arn:"):
            raise ValidationError(
                message="StackName must be specified if ChangeSetName is not specified as an ARN."
            )
        stack = self._found(stack_name or "")
        for change_set in reversed(self._change_sets_of(stack) if stack else []):
            if change_set.name == change_set_name:
                return change_set
        raise ChangeSetNotFound(change_set_name)

    def delete_change_set(self, change_set_name: str, stack_name: str | None = None) -> None:
        """Forget a change set; as in AWS, one that does not exist is no error."""
        with self._operation, contextlib.suppress(ChangeSetNotFound):
            del self._change_sets[self.describe_change_set(change_set_name, stack_name).change_set_id]

    def list_change_sets(self, stack_name: str) -> list[ChangeSet]:  # type: ignore[override]
        """Return the change sets of a stack."""
        return self._change_sets_of(self.get_stack(stack_name))

    def execute_change_set(self, change_set_name: str, stack_name: str | None = None) -> None:
        """Apply a change set to its stack, whose other change sets are then void, as in AWS."""
        with self._operation:
            change_set = self.describe_change_set(change_set_name, stack_name)
            if change_set.execution_status != "AVAILABLE":
                raise InvalidChangeSetStatus(change_set)
            stack = change_set.stack
            self._forget_change_sets(stack, but=change_set)
            change_set.execution_status = "EXECUTE_IN_PROGRESS"
            if stack.status == "REVIEW_IN_PROGRESS":
                operations.create(stack, change_set.plan)
            else:
                self._update(stack, change_set.plan)
            complete = stack.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
            change_set.execution_status = "EXECUTE_COMPLETE" if complete else "EXECUTE_FAILED"

    def describe_stacks(self, name_or_stack_id: str) -> list[Stack]:  # type: ignore[override]
        """Return one stack, or all that are not deleted."""
        return [self.get_stack(name_or_stack_id)] if name_or_stack_id else list(self._live.values())

    def list_stacks(self, status_filter: list[str] | None = None) -> list[Stack]:  # type: ignore[override]
        """Return all stacks, deleted ones too, of the statuses asked for."""
        return [stack for stack in self.all_stacks() if not status_filter or stack.status in status_filter]

    def get_stack(self, name_or_stack_id: str) -> Stack:  # type: ignore[override]
        """Return a stack by name or id; a deleted one by id only.

        Raises:
            ValidationError: there is none.
        """
        stack = self._found(name_or_stack_id)
        if stack is not None:
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
        selected = [
            entry
            for entry in stack.stack_resources
            if logical_resource_id in (None, entry.logical_resource_id)
        ]
        return stack, selected

    def list_exports(self, tokenstr: str | None) -> tuple[list[Export], str | None]:
        """Return all exports in one page."""
        return list(self.live_exports().values()), None

    def live_exports(self) -> dict[str, Export]:
        """Return the exports of all stacks by name."""
        return {name: export for stack in self._live.values() for name, export in stack.own_exports.items()}

    def _importers(self, name: str) -> list[str]:
        return [stack.name for stack in self._live.values() if name in stack.imports()]

    def _found(self, name_or_stack_id: str) -> Stack | None:
        for stack in self._live.values():
            if name_or_stack_id in (stack.name, stack.stack_id):
                return stack
        return None

    def _change_sets_of(self, stack: Stack) -> list[ChangeSet]:
        return [one for one in self._change_sets.values() if one.stack is stack]

    def _forget_change_sets(self, stack: Stack, but: ChangeSet | None = None) -> None:
        for one in self._change_sets_of(stack):
            if one is not but:
                del self._change_sets[one.change_set_id]

    def _new_stack(self, name: str, role_arn: str | None, notification_arns: list[str] | None) -> Stack:
        return Stack(
            stack_id=generate_stack_id(name, self.region_name, self.account_id),
            name=name,
            region=self.region_name,
            account=self.account_id,
            surroundings=StackEnvironment(
                lambda service: _client(service, self.region_name), self.live_exports, self._importers
            ),
            role_arn=role_arn,
            notification_arns=notification_arns,
        )

    def _update(self, stack: Stack, plan: operations.Plan) -> None:
        operations.update(stack, plan)
        stack.last_updated_time = utcnow()


def _plan(
    stack: Stack, template: str, given: Mapping[str, str], tags: Mapping[str, str] | None
) -> operations.Plan:
    """Check a template for a stack.

    Raises:
        ValidationError: with everything that is wrong.
    """
    try:
        return operations.plan(stack, Template(template), given, tags)
    except TemplateError as error:
        raise ValidationError(message=str(error)) from error


def _given(stack: Stack, parameters: list[dict[str, Any]]) -> dict[str, str]:
    """Return parameter values as given, those of the stack where the caller asks for the previous ones.

    Raises:
        ValidationError: the stack has no previous value.
    """
    given: dict[str, str] = {}
    for item in parameters:
        name = item["ParameterKey"]
        if str(item.get("UsePreviousValue", "")).lower() != "true":
            given[name] = item["ParameterValue"]
        elif name in stack.raw_parameters:
            given[name] = stack.raw_parameters[name]
        else:
            raise ValidationError(message=f"Parameters: [{name}] must have values")
    return given


def _check_updatable(stack: Stack) -> None:
    """Refuse to update a stack in a state in which AWS requires another operation first.

    Raises:
        ValidationError: in CloudFormation's words.
    """
    if not stack.status.endswith("COMPLETE") or stack.status == "ROLLBACK_COMPLETE":
        raise ValidationError(
            message=f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated."
        )


def install() -> None:
    """Make moto's server use the engine for CloudFormation."""
    put(cloudformation_backends, "backend", Engine)
    change_set_requests.install()
    put(responses, "get_stack_from_s3_url", template_of_url)


@lru_cache
def _client(service: str, region: str) -> Any:
    """Return a client for this server: its endpoint is in AWS_ENDPOINT_URL."""
    # What is asked twice would be done twice, and nodes of an EKS cluster may take a minute to start.
    config = Config(read_timeout=_ANSWER_SECONDS, retries={"total_max_attempts": 1})
    return boto3.client(service, region_name=region, config=config)  # type: ignore[call-overload]
