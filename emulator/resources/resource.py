"""The base class of resource types: a handler that turns CloudFormation properties into API calls."""

from __future__ import annotations

import secrets
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, NoReturn

Properties = dict[str, Any]


class Kind(StrEnum):
    """The depth to which the emulator emulates a resource.

    CREATED: an emulated service holds it and answers for it. ANSWERED: a custom resource whose handler was
    run or answered. RECORDED: checked against the schema and written down; nothing behind it.
    """

    CREATED = "created"
    ANSWERED = "answered"
    RECORDED = "recorded"


class ResourceFailure(Exception):
    """A resource cannot be created, updated or deleted; the text becomes the stack event's reason."""


class NotUpdatable(ResourceFailure):
    """The emulator has no in-place update for what changed; the text says which property of which type."""


@dataclass(frozen=True)
class Context:
    """The stack of a handler: names, region, account, tags, and clients of services.

    `client` returns a boto3 client for a service of the emulator in the stack's region.
    """

    stack_name: str
    stack_id: str
    region: str
    account: str
    client: Callable[[str], Any]
    stack_tags: Mapping[str, str] = field(default_factory=dict)


class Resource(ABC):
    """One resource of one stack. A subclass handles one type and is entered with `@resource(TYPE)`.

    `create` sets `physical_id` (what Ref returns) and fills `attributes` (what Fn::GetAtt returns);
    `update` is called when no create-only property changed, with the properties as they were before;
    `delete` removes it. All raise ResourceFailure or botocore's errors, whose text is shown as the reason.
    """

    type: ClassVar[str] = ""
    kind: ClassVar[Kind] = Kind.CREATED
    in_place: ClassVar[frozenset[str]] = frozenset()
    """Create-only properties of the schema that CloudFormation changes in place all the same."""

    def __init__(self, context: Context, resource_type: str, logical_id: str, properties: Properties) -> None:
        self.context = context
        self.resource_type = resource_type
        self.logical_id = logical_id
        self.properties = properties
        self.physical_id = ""
        self.attributes: dict[str, Any] = {}

    @abstractmethod
    def create(self) -> None:
        """Create what the properties describe; set `physical_id` and `attributes`."""

    def update(self, previous: Properties) -> None:
        """Bring what exists from `previous` to the current properties.

        Raises:
            NotUpdatable: what changed is more than tags, and the subclass does not override this.
        """
        changed = self.changed(previous)
        if changed == ["Tags"] and self.carries_tags:
            self.apply_tags()
            return
        names = ", ".join(f"'{name}'" for name in changed)
        raise NotUpdatable(
            f"the emulator has no in-place update of {names} for type '{self.resource_type}'; "
            "its handler in emulator/resources needs an update method"
        )

    @property
    def carries_tags(self) -> bool:
        """Return whether tags can be changed on what exists (the subclass overrides `apply_tags`)."""
        return type(self).apply_tags is not Resource.apply_tags

    def apply_tags(self) -> None:  # noqa: B027 optional: only where tags can change on what exists
        """Set the resource's tags and the stack's on what exists."""

    def replaced_by(self, after: Properties) -> list[str]:
        """Return what of `after` makes a new resource beyond the schema's create-only properties."""
        return []

    @abstractmethod
    def delete(self) -> None:
        """Remove it."""

    def clean_up(self) -> None:  # noqa: B027 optional: only where an update in place leaves an old one
        """Remove what updates put out of use, once the stack's update is complete or undone."""

    def attribute(self, name: str) -> Any:
        """Return what Fn::GetAtt returns.

        Raises:
            ResourceFailure: the handler does not know the attribute.
        """
        if name in self.attributes:
            return self.attributes[name]
        value: Any = self.properties
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                known = ", ".join(sorted(self.attributes)) or "none"
                raise ResourceFailure(
                    f"the emulator's '{self.resource_type}' has no attribute '{name}' (known: {known})"
                )
            value = value[part]
        return value

    # What handlers share.

    def aws(self, service: str) -> Any:
        """Return a boto3 client of the emulator for `service`."""
        return self.context.client(service)

    def fail(self, reason: str) -> NoReturn:
        """Fail this resource.

        Raises:
            ResourceFailure: with the reason.
        """
        raise ResourceFailure(reason)

    def changed(self, previous: Properties) -> list[str]:
        """Return the names of the top-level properties that differ from `previous`."""
        names = sorted(set(previous) | set(self.properties))
        return [name for name in names if previous.get(name) != self.properties.get(name)]

    def only(self, *names: str) -> Properties:
        """Return those of the named properties that are given."""
        return {name: self.properties[name] for name in names if name in self.properties}

    def tags(self) -> list[dict[str, str]]:
        """Return the resource's tags over the stack's, as a list of Key and Value, as CloudFormation does."""
        own = self.properties.get("Tags", [])
        if isinstance(own, dict):
            own = [{"Key": key, "Value": value} for key, value in own.items()]
        merged = dict(self.context.stack_tags) | {tag["Key"]: str(tag["Value"]) for tag in own}
        return [{"Key": key, "Value": value} for key, value in merged.items()]

    def tag_argument(self, name: str = "Tags") -> dict[str, list[dict[str, str]]]:
        """Return the tags as an argument of a create call, which is left out when there are none."""
        tags = self.tags()
        return {name: tags} if tags else {}

    def generated_name(self, limit: int = 64, *, lower: bool = False) -> str:
        """Return a physical name as CloudFormation makes it: stack, logical id, 12 random characters."""
        suffix = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(12))
        room = limit - len(suffix) - 1
        stem = f"{self.context.stack_name}-{self.logical_id}"
        if len(stem) > room:
            half = room // 2
            stem = f"{self.context.stack_name[:half]}-{self.logical_id}"[:room]
        name = f"{stem.rstrip('-')}-{suffix}"
        return name.lower() if lower else name

    def arn(self, service: str, path: str) -> str:
        """Return the ARN of something of this stack's account and region."""
        return f"arn:aws:{service}:{self.context.region}:{self.context.account}:{path}"


class RecordedResource(Resource):
    """A type that no emulated service holds: checked, written down, and given identifiers of the right form.

    `ref` names the property that Ref returns (it is generated when the template leaves it out);
    `generated` makes the read-only attributes. Subclasses set both.
    """

    kind = Kind.RECORDED
    ref: ClassVar[str] = ""

    def create(self) -> None:
        """Record the properties and make the identifiers."""
        name = self.properties.get(self.ref) if self.ref else None
        self.physical_id = str(name) if name else self.generated_name()
        self.attributes.update(self.generated())

    def generated(self) -> dict[str, Any]:
        """Return the read-only attributes, `physical_id` being set already."""
        return {}

    def update(self, previous: Properties) -> None:
        """Record the new properties."""
        self.attributes.update(self.generated())

    def delete(self) -> None:
        """Forget it: the record is all there is."""


REGISTRY: dict[str, type[Resource]] = {}
"""Handlers by CloudFormation type."""


def resource(resource_type: str) -> Callable[[type[Resource]], type[Resource]]:
    """Enter a handler class for a CloudFormation type."""

    def enter(cls: type[Resource]) -> type[Resource]:
        assert resource_type not in REGISTRY, f"two handlers for {resource_type}"
        cls.type = resource_type
        REGISTRY[resource_type] = cls
        return cls

    return enter
