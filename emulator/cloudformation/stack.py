"""One stack: its resources, its outputs, and what moto's responses read from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.cloudformation.models import Event
from moto.cloudformation.parsing import Export
from moto.core.utils import utcnow

from emulator.cloudformation.intrinsics import NO_VALUE, Resolver, TemplateError
from emulator.cloudformation.template import Template
from emulator.resources.resource import Context, Resource


@dataclass(frozen=True)
class StackEnvironment:
    """Clients of the emulator, the exports of all stacks by name, and the names of the stacks that import one."""

    client: Callable[[str], Any]
    exports: Callable[[], Mapping[str, Export]]
    importers: Callable[[str], list[str]]


@dataclass
class StackResource:
    """A resource as DescribeStackResources shows it, with the handler behind it.

    `conditioned` properties of the template are resolved in `handler.properties`.
    """

    logical_resource_id: str
    cf_resource_type: str
    handler: Resource
    resource_status: str
    deletion_policy: str
    seconds: float = 0.0
    timestamp: Any = field(default_factory=utcnow)

    @property
    def physical_resource_id(self) -> str:
        """Return what Ref returns."""
        return self.handler.physical_id


class Stack:
    """A stack's state. The operations on it are in `operations`.

    Attribute names follow moto's Stack, whose responses are used unchanged.
    """

    class Meta:
        """Names of members for moto's serializer, where they differ."""

        serialization_aliases = {"Parameters": "parameter_list"}

    def __init__(
        self,
        *,
        stack_id: str,
        name: str,
        region: str,
        account: str,
        surroundings: StackEnvironment,
        role_arn: str | None = None,
        notification_arns: list[str] | None = None,
    ) -> None:
        self.stack_id = stack_id
        self.name = name
        self.region_name = region
        self.account_id = account
        self.tags: dict[str, str] = {}
        self.role_arn = role_arn
        self.notification_arns = notification_arns or []
        self.status = "REVIEW_IN_PROGRESS"
        self.stack_status_reason: str | None = None
        self.creation_time = utcnow()
        self.last_updated_time: Any = None
        self.deletion_time: Any = None
        self.events: list[Event] = []
        self.resources: dict[str, StackResource] = {}
        self.retained: list[StackResource] = []
        self.outputs: list[dict[str, Any]] = []
        self.own_exports: dict[str, Export] = {}
        self.definition: Template | None = None
        self.values: dict[str, Any] = {}
        self.raw_parameters: dict[str, str] = {}
        self.disable_rollback = False
        self.enable_termination_protection = False
        self.timeout_in_minutes: int | None = None
        self.policy = ""
        self.surroundings = surroundings

    # What moto's responses read.

    @property
    def template(self) -> str:
        """Return the template's text as it was sent."""
        return self.definition.text if self.definition else ""

    @property
    def description(self) -> str | None:
        """Return the template's description."""
        return self.definition.document.get("Description") if self.definition else None

    @property
    def stack_parameters(self) -> dict[str, str]:
        """Return the parameters as they were given."""
        return self.raw_parameters

    @property
    def parameter_list(self) -> list[dict[str, str]]:
        """Return the parameters as DescribeStacks lists them."""
        return [{"ParameterKey": key, "ParameterValue": value} for key, value in self.raw_parameters.items()]

    @property
    def stack_resources(self) -> list[StackResource]:
        """Return the resources that exist."""
        return list(self.resources.values())

    @property
    def exports(self) -> list[Export]:
        """Return the exports."""
        return list(self.own_exports.values())

    # State and evaluation.

    def set_status(self, status: str, reason: str | None = None) -> None:
        """Set the stack's status and write the event."""
        self.status = status
        self.stack_status_reason = reason
        self.add_event(self.name, self.stack_id, "AWS::CloudFormation::Stack", status, reason)

    def add_event(
        self, logical_id: str, physical_id: str, resource_type: str, status: str, reason: str | None = None
    ) -> None:
        """Write one event."""
        self.events.append(
            Event(
                stack_id=self.stack_id,
                stack_name=self.name,
                logical_resource_id=logical_id,
                physical_resource_id=physical_id,
                resource_type=resource_type,
                resource_status=status,
                resource_status_reason=reason,
                resource_properties=None,
            )
        )

    def context(self) -> Context:
        """Return the context for handlers of this stack."""
        return Context(
            stack_name=self.name,
            stack_id=self.stack_id,
            region=self.region_name,
            account=self.account_id,
            client=self.surroundings.client,
            stack_tags=self.tags,
        )

    def resolver(self, template: Template, values: Mapping[str, Any]) -> Resolver:
        """Return a resolver over the resources that exist now."""
        return Resolver(
            values={**values, **self._pseudo_parameters()},
            mappings=template.mappings,
            conditions=template.conditions,
            reference=lambda name: self._resource(name).physical_resource_id,
            attribute=lambda name, attribute: self._resource(name).handler.attribute(attribute),
            imported=self._imported,
            zones=self._zones,
            dynamic=self._dynamic,
        )

    def evaluate_outputs(self, template: Template, values: Mapping[str, Any]) -> None:
        """Compute outputs and exports.

        Raises:
            TemplateError: an output refers to what does not exist, an export's name is taken, or an export that
                another stack imports would change or go.
        """
        resolver = self.resolver(template, values)
        outputs: list[dict[str, Any]] = []
        exports: dict[str, Export] = {}
        for key, body in template.outputs.items():
            if "Condition" in body and not resolver.condition(body["Condition"]):
                continue
            value = resolver.resolve(body["Value"])
            if value is NO_VALUE:
                raise TemplateError(f"output '{key}' has no value")
            if isinstance(value, list | dict):
                raise TemplateError(f"output '{key}' must be text, and is a {type(value).__name__}")
            name = resolver.resolve(body["Export"]["Name"]) if "Export" in body else None
            outputs.append(
                {
                    "OutputKey": key,
                    "OutputValue": str(value),
                    "Description": body.get("Description"),
                    "ExportName": name,
                }
            )
            if name is None:
                continue
            taken = self.surroundings.exports().get(name)
            if taken is not None and taken.exporting_stack_id != self.stack_id:
                raise TemplateError(
                    f"Export with name {name} is already exported by {taken.exporting_stack_id}"
                )
            exports[name] = Export(self.stack_id, name, str(value))
        self._check_exports_in_use(exports)
        self.outputs, self.own_exports = outputs, exports

    def export_in_use(self) -> str | None:
        """Return why the stack's exports keep it from deletion, or None."""
        for name in self.own_exports:
            users = self.surroundings.importers(name)
            if users:
                return f"Delete canceled. Cannot delete export {name} as it is in use by {_listed(users)}."
        return None

    def _check_exports_in_use(self, after: Mapping[str, Export]) -> None:
        """Refuse what CloudFormation refuses: another value for an export that is imported, or its removal.

        Source of the words: deployments of 2025 and 2026 in public issue trackers (AWS writes
        "Update canceled. Cannot update export ... as it is in use by A, B and C.").

        Raises:
            TemplateError: in CloudFormation's words.
        """
        for name, export in self.own_exports.items():
            if name in after and after[name].value == export.value:
                continue
            users = self.surroundings.importers(name)
            if users:
                verb = "update" if name in after else "delete"
                raise TemplateError(
                    f"{verb.capitalize()} canceled. Cannot {verb} export {name} as it is in use by "
                    f"{_listed(users)}."
                )

    def stored_parameter(self, name: str) -> str:
        """Return the value of an SSM parameter, for parameters of that type.

        Raises:
            TemplateError: it does not exist.
        """
        ssm = self.surroundings.client("ssm")
        try:
            return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
        except (ssm.exceptions.ParameterNotFound, ssm.exceptions.ParameterVersionNotFound):
            raise TemplateError(f"Unable to fetch parameters [{name}] from parameter store") from None

    def imports(self) -> set[str]:
        """Return the names of the exports that this stack imports."""
        if self.definition is None or not self.resources:
            # It was never deployed, or its creation was rolled back.
            return set()
        found: set[str] = set()
        resolver = self.resolver(self.definition, self.values)

        def search(value: Any) -> None:
            if isinstance(value, list):
                for item in value:
                    search(item)
            elif isinstance(value, dict):
                for key, item in value.items():
                    if key == "Fn::ImportValue":
                        found.add(str(resolver.resolve(item)))
                    search(item)

        search(self.definition.document.get("Resources"))
        search(self.definition.outputs)
        return found

    def _resource(self, name: str) -> StackResource:
        try:
            return self.resources[name]
        except KeyError:
            raise TemplateError(f"Unresolved resource dependencies [{name}] in the template") from None

    def _imported(self, name: str) -> str:
        export = self.surroundings.exports().get(name)
        if export is None:
            raise TemplateError(f"No export named {name} found.")
        return export.value

    def _zones(self) -> list[str]:
        zones = self.surroundings.client("ec2").describe_availability_zones()["AvailabilityZones"]
        return sorted(zone["ZoneName"] for zone in zones)

    def _dynamic(self, service: str, key: str) -> str:
        if service == "ssm":
            # A version of its own may follow the name.
            return self.stored_parameter(key)
        if service == "secretsmanager":
            return self._secret(key)
        raise TemplateError(f"the emulator does not resolve dynamic references to '{service}'")

    def _secret(self, key: str) -> str:
        """Return what `SECRET:SecretString:JSON-KEY:STAGE:VERSION` refers to; an ARN has colons of its own."""
        secret, _, rest = key.partition(":SecretString")
        member = rest.removeprefix(":").partition(":")[0]
        manager = self.surroundings.client("secretsmanager")
        try:
            value = str(manager.get_secret_value(SecretId=secret)["SecretString"])
        except manager.exceptions.ResourceNotFoundException:
            raise TemplateError(f"Secrets Manager can't find the specified secret '{secret}'") from None
        return str(json.loads(value)[member]) if member else value

    def _pseudo_parameters(self) -> dict[str, Any]:
        return {
            "AWS::AccountId": self.account_id,
            "AWS::Region": self.region_name,
            "AWS::StackId": self.stack_id,
            "AWS::StackName": self.name,
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::Partition": "aws",
            "AWS::NotificationARNs": self.notification_arns,
        }


def _listed(names: list[str]) -> str:
    """Return names as CloudFormation lists them: A, B and C."""
    *first, last = sorted(names)
    return f"{', '.join(first)} and {last}" if first else last
