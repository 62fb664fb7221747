"""Secrets, who may do what with them, and when they are rotated."""

from __future__ import annotations

import json
from typing import Any

from emulator.resources.request import call
from emulator.resources.resource import Properties, RecordedResource, Resource, resource

_GENERATED = "GenerateSecretString"


@resource("AWS::SecretsManager::Secret")
class Secret(Resource):
    """A secret, given or generated. Ref is its ARN."""

    def create(self) -> None:
        """Create it with its value."""
        name = self.properties.get("Name") or self.generated_name(512)
        given = self.only("Description", "KmsKeyId")
        answer = self.aws("secretsmanager").create_secret(
            Name=name, SecretString=self._value(), **given, **self.tag_argument()
        )
        self.physical_id = answer["ARN"]
        self.attributes = {"Id": self.physical_id}

    def _value(self) -> str:
        if "SecretString" in self.properties:
            return str(self.properties["SecretString"])
        asked = dict(self.properties.get(_GENERATED, {}))
        template, key = asked.pop("SecretStringTemplate", None), asked.pop("GenerateStringKey", None)
        password = call(self.aws("secretsmanager"), "get_random_password", asked)["RandomPassword"]
        if template is None:
            return str(password)
        return json.dumps(json.loads(template) | {key: password})

    def update(self, previous: Properties) -> None:
        """Change description, tags, and a value that is given; a generated one stays as it is."""
        changed = set(self.changed(previous))
        if changed - {"Description", "SecretString", "Tags"}:
            super().update(previous)
        given = self.only(*sorted(changed & {"Description", "SecretString"}))
        if given:
            self.aws("secretsmanager").update_secret(SecretId=self.physical_id, **given)
        self.apply_tags()

    def apply_tags(self) -> None:
        """Set the tags."""
        if new_tags := self.tags():
            self.aws("secretsmanager").tag_resource(SecretId=self.physical_id, Tags=new_tags)

    def delete(self) -> None:
        """Delete it, as CloudFormation does, without a window for second thoughts."""
        self.aws("secretsmanager").delete_secret(SecretId=self.physical_id, ForceDeleteWithoutRecovery=True)


@resource("AWS::SecretsManager::ResourcePolicy")
class SecretPolicy(Resource):
    """The policy of a secret."""

    def create(self) -> None:
        """Put it."""
        self._put()
        self.physical_id = self.properties["SecretId"]
        self.attributes = {"Id": self.physical_id}

    def _put(self) -> None:
        policy = self.properties["ResourcePolicy"]
        self.aws("secretsmanager").put_resource_policy(
            SecretId=self.properties["SecretId"], ResourcePolicy=json.dumps(policy)
        )

    def update(self, previous: Properties) -> None:
        """Put the new one."""
        del previous
        self._put()

    def delete(self) -> None:
        """Remove it."""
        self.aws("secretsmanager").delete_resource_policy(SecretId=self.properties["SecretId"])


@resource("AWS::SecretsManager::RotationSchedule")
class RotationSchedule(RecordedResource):
    """A schedule of rotations: nothing calls the function here. Ref is the secret's ARN."""

    ref = "SecretId"

    def create(self) -> None:
        """See that the function is there, as Secrets Manager does, and record the schedule."""
        self.aws("lambda").get_function(FunctionName=self.properties["RotationLambdaARN"])
        super().create()

    def generated(self) -> dict[str, Any]:
        """Return the attributes."""
        return {"Id": self.physical_id}
