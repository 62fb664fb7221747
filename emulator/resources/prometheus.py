"""Workspaces of Amazon Managed Prometheus."""

from __future__ import annotations

from emulator.resources.resource import Properties, Resource, resource


@resource("AWS::APS::Workspace")
class Workspace(Resource):
    """A workspace, without samples: how long it keeps them is checked and not acted on. Ref is its ARN."""

    def create(self) -> None:
        """Create it."""
        tags = {tag["Key"]: tag["Value"] for tag in self.tags()}
        made = self.aws("amp").create_workspace(**self._alias(), tags=tags)
        self.physical_id = made["arn"]
        self._id = made["workspaceId"]
        found = self.aws("amp").describe_workspace(workspaceId=self._id)["workspace"]
        self.attributes = {
            "Arn": found["arn"],
            "WorkspaceId": self._id,
            "PrometheusEndpoint": found["prometheusEndpoint"],
        }

    def _alias(self) -> dict[str, str]:
        return {"alias": self.properties["Alias"]} if "Alias" in self.properties else {}

    def update(self, previous: Properties) -> None:
        """Change the alias, and for how long samples would be kept."""
        if set(self.changed(previous)) - {"Alias", "WorkspaceConfiguration", "Tags"}:
            super().update(previous)
        self.aws("amp").update_workspace_alias(workspaceId=self._id, **self._alias())

    def delete(self) -> None:
        """Delete it."""
        self.aws("amp").delete_workspace(workspaceId=self._id)
