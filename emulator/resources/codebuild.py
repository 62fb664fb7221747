"""CodeBuild projects."""

from __future__ import annotations

from typing import Any

from emulator.resources.resource import Properties, Resource, resource


@resource("AWS::CodeBuild::Project")
class Project(Resource):
    """A build project. Ref is its name."""

    def create(self) -> None:
        """Create it at moto's backend: its API wants a source's location, which NO_SOURCE does not have."""
        self.physical_id = self.properties.get("Name") or self.generated_name()
        self.attributes = {"Arn": self.arn("codebuild", f"project/{self.physical_id}")}
        self._put()

    @property
    def _backend(self) -> Any:
        from moto.codebuild.models import codebuild_backends

        return codebuild_backends[self.context.account][self.context.region]

    def _put(self) -> None:
        given = _lowered(self.properties)
        self._backend.create_project(
            project_name=self.physical_id,
            description=given.get("description"),
            project_source=given["source"],
            artifacts=given["artifacts"],
            environment=given["environment"],
            service_role=given["serviceRole"],
            tags=[{"key": tag["Key"], "value": tag["Value"]} for tag in self.tags()],
            cache=given.get("cache"),
            timeout=given.get("timeoutInMinutes"),
            queued_timeout=given.get("queuedTimeoutInMinutes"),
            source_version=given.get("sourceVersion"),
            logs_config=given.get("logsConfig"),
            vpc_config=given.get("vpcConfig"),
        )

    def update(self, previous: Properties) -> None:
        """Put all of it again: UpdateProject changes whatever differs, and moto has none."""
        del previous
        self._put()

    def delete(self) -> None:
        """Delete it."""
        self.aws("codebuild").delete_project(name=self.physical_id)


def _lowered(value: Any) -> Any:
    """Return CloudFormation's names as CodeBuild's API writes them: `BuildSpec` is `buildSpec`... and `buildspec`."""
    if isinstance(value, list):
        return [_lowered(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = {key: key[0].lower() + key[1:] for key in value}
    return {
        ("buildspec" if name == "buildSpec" else name): _lowered(value[key]) for key, name in names.items()
    }
