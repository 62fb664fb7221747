"""Requests about change sets: moto's own ignore the stack that a change set belongs to."""

from __future__ import annotations

from typing import Any

from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult, EmptyResult

from emulator.moto_patches import put_all


class Requests(CloudFormationResponse):
    """The operations on change sets, each for one stack."""

    def create_change_set(self) -> ActionResult:
        """Create a change set from a template, its URL, or the template that the stack has."""
        self.validate_template_and_stack_body()
        template, url = self._get_param("TemplateBody"), self._get_param("TemplateURL")
        made = self._engine().create_change_set(
            stack_name=self._get_param("StackName"),
            change_set_name=self._get_param("ChangeSetName"),
            template=self._get_stack_from_s3_url(url) if url else template,
            parameters=self._get_param("Parameters", []),
            description=self._get_param("Description"),
            # AWS's default, too.
            change_set_type=self._get_param("ChangeSetType", "UPDATE"),
            notification_arns=self._get_param("NotificationARNs", []),
            tags=self._tags(),
            role_arn=self._get_param("RoleARN"),
        )
        return ActionResult({"Id": made.change_set_id, "StackId": made.stack.stack_id})

    def describe_change_set(self) -> ActionResult:
        """Describe a change set."""
        return ActionResult(self._engine().describe_change_set(*self._named()).describe())

    def delete_change_set(self) -> ActionResult:
        """Delete a change set."""
        self._engine().delete_change_set(*self._named())
        return EmptyResult()

    def execute_change_set(self) -> ActionResult:
        """Execute a change set."""
        self._engine().execute_change_set(*self._named())
        return EmptyResult()

    def list_change_sets(self) -> ActionResult:
        """List the change sets of a stack."""
        found = self._engine().list_change_sets(self._get_param("StackName"))
        return ActionResult({"Summaries": [change_set.summary() for change_set in found]})

    def _engine(self) -> Any:
        return self.cloudformation_backend

    def _named(self) -> tuple[str, str | None]:
        return self._get_param("ChangeSetName"), self._get_param("StackName")

    def _tags(self) -> dict[str, str] | None:
        """Return the tags that were sent: none keep the stack's, an empty list takes them away."""
        tags = self._get_param("Tags")
        return None if tags is None else {tag["Key"]: tag["Value"] for tag in tags}


def install() -> None:
    """Put the operations in the place of moto's."""
    put_all(CloudFormationResponse, Requests)
