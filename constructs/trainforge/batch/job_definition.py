"""A job definition in a template, from the one that RegisterJobDefinition takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import aws_batch as batch
from constructs import Construct

MAX_NAME_LENGTH = 128
"""Characters of a definition's name (botocore: batch RegisterJobDefinition)."""

_MAPS = frozenset({"tags", "options", "parameters"})
"""Keys whose values are maps of the user's own keys, which keep their spelling."""


def in_cloudformation(value: Any) -> Any:
    """Return a request of the API in CloudFormation's spelling, which begins keys with a capital."""
    if isinstance(value, dict):
        return {
            key[0].upper() + key[1:]: member if key in _MAPS else in_cloudformation(member)
            for key, member in value.items()
        }
    if isinstance(value, list):
        return [in_cloudformation(member) for member in value]
    return value


class JobDefinition(Construct):
    """A job definition under a name of its own, from the text that a renderer wrote.

    People submit by the name. A fixed name blocks no update: every change makes another revision of it.
    """

    def __init__(self, scope: Construct, construct_id: str, *, name: str, text: str) -> None:
        super().__init__(scope, construct_id)
        request: Mapping[str, Any] = json.loads(text)
        properties = in_cloudformation({**request, "jobDefinitionName": name})
        self.definition = batch.CfnJobDefinition(self, "Definition", type=str(properties.pop("Type")))
        # Tags of the application are merged with those of the construct by the CDK itself.
        tags = properties.pop("Tags", {})
        for key, member in properties.items():
            self.definition.add_property_override(key, member)
        for key, member in tags.items():
            self.definition.tags.set_tag(key, member)
        self.arn: str = self.definition.ref
