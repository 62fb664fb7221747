"""IAM roles, policies and instance profiles."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from emulator.resources.resource import Properties, Resource, resource


def _document(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _gone(error: ClientError) -> bool:
    return bool(error.response["Error"]["Code"] == "NoSuchEntity")


class IamResource(Resource):
    """A resource of IAM."""

    @property
    def iam(self) -> Any:
        """Return the IAM client."""
        return self.aws("iam")


@resource("AWS::IAM::Role")
class Role(IamResource):
    """A role with its inline and managed policies."""

    def create(self) -> None:
        """Create it."""
        given = self.only("Path", "Description", "PermissionsBoundary")
        if "MaxSessionDuration" in self.properties:
            given["MaxSessionDuration"] = int(self.properties["MaxSessionDuration"])
        name = self.properties.get("RoleName") or self.generated_name()
        role = self.iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=_document(self.properties["AssumeRolePolicyDocument"]),
            **self.tag_argument(),
            **given,
        )["Role"]
        self.physical_id = name
        self.attributes = {"Arn": role["Arn"], "RoleId": role["RoleId"]}
        self._attach({})

    def _attach(self, previous: Properties) -> None:
        before = previous.get("ManagedPolicyArns", [])
        after = self.properties.get("ManagedPolicyArns", [])
        for arn in after:
            if arn not in before:
                self.iam.attach_role_policy(RoleName=self.physical_id, PolicyArn=arn)
        for arn in before:
            if arn not in after:
                self.iam.detach_role_policy(RoleName=self.physical_id, PolicyArn=arn)
        inline = {
            policy["PolicyName"]: policy["PolicyDocument"] for policy in self.properties.get("Policies", [])
        }
        for policy in previous.get("Policies", []):
            if policy["PolicyName"] not in inline:
                self.iam.delete_role_policy(RoleName=self.physical_id, PolicyName=policy["PolicyName"])
        for name, document in inline.items():
            self.iam.put_role_policy(
                RoleName=self.physical_id, PolicyName=name, PolicyDocument=_document(document)
            )

    def update(self, previous: Properties) -> None:
        """Set trust, policies, description, session length and tags."""
        self.iam.update_assume_role_policy(
            RoleName=self.physical_id, PolicyDocument=_document(self.properties["AssumeRolePolicyDocument"])
        )
        self.iam.update_role(
            RoleName=self.physical_id,
            Description=self.properties.get("Description", ""),
            MaxSessionDuration=int(self.properties.get("MaxSessionDuration", 3600)),
        )
        self._attach(previous)
        self.apply_tags()

    def apply_tags(self) -> None:
        """Make the tags those of the template and the stack, and no others."""
        held = {tag["Key"] for tag in self.iam.list_role_tags(RoleName=self.physical_id)["Tags"]}
        new_tags = self.tags()
        stale = sorted(held - {tag["Key"] for tag in new_tags})
        if stale:
            self.iam.untag_role(RoleName=self.physical_id, TagKeys=stale)
        if new_tags:
            self.iam.tag_role(RoleName=self.physical_id, Tags=new_tags)

    def delete(self) -> None:
        """Detach this resource's own policies and delete it; IAM refuses while others' are attached."""
        for arn in self.properties.get("ManagedPolicyArns", []):
            try:
                self.iam.detach_role_policy(RoleName=self.physical_id, PolicyArn=arn)
            except ClientError as error:
                if not _gone(error):
                    raise
        for policy in self.properties.get("Policies", []):
            try:
                self.iam.delete_role_policy(RoleName=self.physical_id, PolicyName=policy["PolicyName"])
            except ClientError as error:
                if not _gone(error):
                    raise
        self.iam.delete_role(RoleName=self.physical_id)


@resource("AWS::IAM::Policy")
class Policy(IamResource):
    """An inline policy of roles, users or groups."""

    def create(self) -> None:
        """Put it on everyone named."""
        if not any(self.properties.get(name) for name in ("Roles", "Users", "Groups")):
            self.fail("At least one of [Groups,Roles,Users] must be non-empty.")
        self.physical_id = self.generated_name()
        self.attributes = {"Id": self.physical_id}
        self._put(self.properties)

    def _put(self, properties: Properties) -> None:
        given = {
            "PolicyName": properties["PolicyName"],
            "PolicyDocument": _document(properties["PolicyDocument"]),
        }
        for name in properties.get("Roles", []):
            self.iam.put_role_policy(RoleName=name, **given)
        for name in properties.get("Users", []):
            self.iam.put_user_policy(UserName=name, **given)
        for name in properties.get("Groups", []):
            self.iam.put_group_policy(GroupName=name, **given)

    def _take(self, properties: Properties, keep: Properties) -> None:
        same_name = properties["PolicyName"] == keep.get("PolicyName")
        for kind, method, key in (
            ("Roles", "delete_role_policy", "RoleName"),
            ("Users", "delete_user_policy", "UserName"),
            ("Groups", "delete_group_policy", "GroupName"),
        ):
            for name in properties.get(kind, []):
                if same_name and name in keep.get(kind, []):
                    continue
                try:
                    getattr(self.iam, method)(PolicyName=properties["PolicyName"], **{key: name})
                except ClientError as error:
                    if not _gone(error):
                        raise

    def update(self, previous: Properties) -> None:
        """Put the new document, and remove it from roles that it no longer names."""
        self._put(self.properties)
        self._take(previous, self.properties)

    def delete(self) -> None:
        """Take it from everyone."""
        self._take(self.properties, {})


@resource("AWS::IAM::ManagedPolicy")
class ManagedPolicy(IamResource):
    """A customer-managed policy. Ref is its ARN."""

    def create(self) -> None:
        """Create it and attach it."""
        given = self.only("Path", "Description")
        name = self.properties.get("ManagedPolicyName") or self.generated_name(128)
        policy = self.iam.create_policy(
            PolicyName=name, PolicyDocument=_document(self.properties["PolicyDocument"]), **given
        )["Policy"]
        self.physical_id = policy["Arn"]
        self.attributes = {"PolicyArn": policy["Arn"], "PolicyId": policy["PolicyId"]}
        for role in self.properties.get("Roles", []):
            self.iam.attach_role_policy(RoleName=role, PolicyArn=self.physical_id)

    def update(self, previous: Properties) -> None:
        """Make a new default version, and attach to the roles now named."""
        if "PolicyDocument" in self.changed(previous):
            for version in self.iam.list_policy_versions(PolicyArn=self.physical_id)["Versions"]:
                if not version["IsDefaultVersion"]:
                    self.iam.delete_policy_version(PolicyArn=self.physical_id, VersionId=version["VersionId"])
            self.iam.create_policy_version(
                PolicyArn=self.physical_id,
                PolicyDocument=_document(self.properties["PolicyDocument"]),
                SetAsDefault=True,
            )
        before, after = previous.get("Roles", []), self.properties.get("Roles", [])
        for role in after:
            if role not in before:
                self.iam.attach_role_policy(RoleName=role, PolicyArn=self.physical_id)
        for role in before:
            if role not in after:
                self.iam.detach_role_policy(RoleName=role, PolicyArn=self.physical_id)

    def delete(self) -> None:
        """Detach and delete it with all versions."""
        for role in self.properties.get("Roles", []):
            try:
                self.iam.detach_role_policy(RoleName=role, PolicyArn=self.physical_id)
            except ClientError as error:
                if not _gone(error):
                    raise
        for version in self.iam.list_policy_versions(PolicyArn=self.physical_id)["Versions"]:
            if not version["IsDefaultVersion"]:
                self.iam.delete_policy_version(PolicyArn=self.physical_id, VersionId=version["VersionId"])
        self.iam.delete_policy(PolicyArn=self.physical_id)


@resource("AWS::IAM::InstanceProfile")
class InstanceProfile(IamResource):
    """An instance profile with its role."""

    def create(self) -> None:
        """Create it and add the roles."""
        name = self.properties.get("InstanceProfileName") or self.generated_name(128)
        given = self.only("Path")
        profile = self.iam.create_instance_profile(InstanceProfileName=name, **given)["InstanceProfile"]
        self.physical_id = name
        self.attributes = {"Arn": profile["Arn"]}
        for role in self.properties["Roles"]:
            self.iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)

    def update(self, previous: Properties) -> None:
        """Exchange the roles."""
        for role in previous["Roles"]:
            self.iam.remove_role_from_instance_profile(InstanceProfileName=self.physical_id, RoleName=role)
        for role in self.properties["Roles"]:
            self.iam.add_role_to_instance_profile(InstanceProfileName=self.physical_id, RoleName=role)

    def delete(self) -> None:
        """Remove the roles and delete it."""
        for role in self.properties["Roles"]:
            self.iam.remove_role_from_instance_profile(InstanceProfileName=self.physical_id, RoleName=role)
        self.iam.delete_instance_profile(InstanceProfileName=self.physical_id)
