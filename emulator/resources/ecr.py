"""Container repositories."""

from __future__ import annotations

import json
from typing import Any

from emulator.resources.request import call
from emulator.resources.resource import Properties, Resource, resource


@resource("AWS::ECR::Repository")
class Repository(Resource):
    """A repository with its lifecycle and access policies."""

    def create(self) -> None:
        """Create it."""
        name = self.properties.get("RepositoryName") or self.generated_name(256, lower=True)
        scanning: dict[str, Any] = {
            key[0].lower() + key[1:]: value
            for key, value in self.properties.get("ImageScanningConfiguration", {}).items()
        }
        given: dict[str, Any] = {"repositoryName": name, **self.tag_argument("tags")}
        if scanning:
            given["imageScanningConfiguration"] = scanning
        if "ImageTagMutability" in self.properties:
            given["imageTagMutability"] = self.properties["ImageTagMutability"]
        encryption = self.properties.get("EncryptionConfiguration")
        if encryption:
            given["encryptionConfiguration"] = {
                key[0].lower() + key[1:]: value for key, value in encryption.items()
            }
        repository = call(self.aws("ecr"), "create_repository", given)["repository"]
        self.physical_id = name
        self.attributes = {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]}
        self._put_policies()

    def _put_policies(self) -> None:
        lifecycle = self.properties.get("LifecyclePolicy", {}).get("LifecyclePolicyText")
        if lifecycle:
            self.aws("ecr").put_lifecycle_policy(
                repositoryName=self.physical_id, lifecyclePolicyText=lifecycle
            )
        policy = self.properties.get("RepositoryPolicyText")
        if policy:
            text = policy if isinstance(policy, str) else json.dumps(policy)
            self.aws("ecr").set_repository_policy(repositoryName=self.physical_id, policyText=text)

    def update(self, previous: Properties) -> None:
        """Put the policies again."""
        if set(self.changed(previous)) - {"LifecyclePolicy", "RepositoryPolicyText", "Tags", "EmptyOnDelete"}:
            super().update(previous)
        self._put_policies()

    def delete(self) -> None:
        """Delete it; ECR refuses while it holds images, unless the template says EmptyOnDelete."""
        empty = str(self.properties.get("EmptyOnDelete", "false")).lower() == "true"
        self.aws("ecr").delete_repository(repositoryName=self.physical_id, force=empty)
