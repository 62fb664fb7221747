"""SageMaker HyperPod clusters."""

from __future__ import annotations

from typing import Any

from emulator.resources.request import call
from emulator.resources.resource import Properties, Resource, resource


@resource("AWS::SageMaker::Cluster")
class Cluster(Resource):
    """A HyperPod cluster. Ref is its ARN."""

    def create(self) -> None:
        """Create it from all properties: names are the API's own."""
        name = self.properties.get("ClusterName") or self.generated_name(63)
        given = {**self.properties, "ClusterName": name, **self.tag_argument()}
        answer = call(self.aws("sagemaker"), "create_cluster", given)
        self.physical_id = answer["ClusterArn"]
        self._read()

    def _read(self) -> None:
        described = self.aws("sagemaker").describe_cluster(ClusterName=self.physical_id)
        self.attributes = {
            "ClusterArn": described["ClusterArn"],
            "ClusterStatus": described["ClusterStatus"],
            "CreationTime": str(described["CreationTime"]),
            "FailureMessage": described.get("FailureMessage", ""),
        }

    def update(self, previous: Properties) -> None:
        """Send what changed to UpdateCluster, naming the groups that are gone."""
        changed = set(self.changed(previous)) - {"Tags"}
        given: dict[str, Any] = {name: self.properties[name] for name in changed if name in self.properties}
        if "InstanceGroups" in changed:
            after = {group["InstanceGroupName"] for group in self.properties.get("InstanceGroups", [])}
            gone = [
                group["InstanceGroupName"]
                for group in previous.get("InstanceGroups", [])
                if group["InstanceGroupName"] not in after
            ]
            if gone:
                given["InstanceGroupsToDelete"] = gone
        if given:
            call(self.aws("sagemaker"), "update_cluster", {"ClusterName": self.physical_id, **given})
        self.apply_tags()
        self._read()

    def apply_tags(self) -> None:
        """Make the tags those of the template and the stack, and no others."""
        sagemaker = self.aws("sagemaker")
        held = [tag["Key"] for tag in sagemaker.list_tags(ResourceArn=self.physical_id)["Tags"]]
        if held:
            sagemaker.delete_tags(ResourceArn=self.physical_id, TagKeys=held)
        if self.tags():
            sagemaker.add_tags(ResourceArn=self.physical_id, Tags=self.tags())

    def delete(self) -> None:
        """Delete it with its nodes."""
        self.aws("sagemaker").delete_cluster(ClusterName=self.physical_id)
