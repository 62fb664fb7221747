"""EKS clusters with their node groups, access entries and add-ons."""

from __future__ import annotations

import time
from typing import Any

from emulator.resources.request import call
from emulator.resources.resource import Properties, Resource, resource

_POLL_SECONDS = 0.2


def _small(value: Any, kept: tuple[str, ...] = ("Labels", "Tags")) -> Any:
    """Spell properties as the API does: the first letter small; keys of labels and tags are the user's."""
    if isinstance(value, dict):
        return {
            key[0].lower() + key[1:]: item if key in kept else _small(item, kept)
            for key, item in value.items()
        }
    return [_small(item, kept) for item in value] if isinstance(value, list) else value


class EksResource(Resource):
    """A resource of EKS: its tags are a mapping and hang on its ARN."""

    @property
    def eks(self) -> Any:
        """Return the EKS client."""
        return self.aws("eks")

    def tag_map(self) -> dict[str, dict[str, str]]:
        """Return the tags as an argument of a create call."""
        tags = {tag["Key"]: tag["Value"] for tag in self.tags()}
        return {"tags": tags} if tags else {}


@resource("AWS::EKS::Cluster")
class Cluster(EksResource):
    """A cluster. Ref is its name."""

    def create(self) -> None:
        """Create it."""
        given = {name: value for name, value in self.properties.items() if name != "Tags"}
        request = _small(given)
        request["name"] = request.get("name") or self.generated_name(100)
        logging = request.get("logging", {}).get("clusterLogging", {})
        if logging:
            types = [entry["type"] for entry in logging["enabledTypes"]]
            request["logging"] = {"clusterLogging": [{"types": types, "enabled": True}]}
        call(self.eks, "create_cluster", {**request, **self.tag_map()})
        self.physical_id = request["name"]
        self._read(self._awaited())

    def _awaited(self) -> Properties:
        """Return the cluster when it is active; with a control plane of its own that takes a while."""
        while True:
            found: Properties = self.eks.describe_cluster(name=self.physical_id)["cluster"]
            if found["status"] == "ACTIVE":
                return found
            if found["status"] == "FAILED":
                reasons = [issue["message"] for issue in found["health"]["issues"]]
                self.fail(f"the control plane of '{self.physical_id}' does not start: {'; '.join(reasons)}")
            time.sleep(_POLL_SECONDS)

    def _read(self, found: Properties) -> None:
        self.attributes = {
            "Arn": found["arn"],
            "Id": self.physical_id,
            "Endpoint": found["endpoint"],
            "CertificateAuthorityData": found["certificateAuthority"]["data"],
            "ClusterSecurityGroupId": found["resourcesVpcConfig"]["clusterSecurityGroupId"],
            "OpenIdConnectIssuerUrl": found["identity"]["oidc"]["issuer"],
            "EncryptionConfigKeyArn": self.properties["EncryptionConfig"][0]["Provider"]["KeyArn"]
            if self.properties.get("EncryptionConfig")
            else "",
        }

    def delete(self) -> None:
        """Delete it."""
        self.eks.delete_cluster(name=self.physical_id)


@resource("AWS::EKS::Nodegroup")
class Nodegroup(EksResource):
    """A managed node group. Ref is the cluster's name and its own."""

    def create(self) -> None:
        """Create it."""
        request = _small({name: value for name, value in self.properties.items() if name != "Tags"})
        request["nodegroupName"] = request.get("nodegroupName") or self.generated_name(63)
        self._names = (request["clusterName"], request["nodegroupName"])
        answer = call(self.eks, "create_nodegroup", {**request, **self.tag_map()})["nodegroup"]
        self.physical_id = "/".join(self._names)
        self.attributes = {
            "Arn": answer["nodegroupArn"],
            "ClusterName": self._names[0],
            "Id": self.physical_id,
            "NodegroupName": self._names[1],
        }

    _CONFIG = frozenset({"ScalingConfig", "UpdateConfig", "NodeRepairConfig"})
    _VERSION = frozenset({"Version", "ReleaseVersion"})

    def update(self, previous: Properties) -> None:
        """Set sizes, labels, repair and the way of updates; another version or template is a rolling update.

        The refusal is the service's own (aws/containers-roadmap, issue 1258).
        """
        changed = set(self.changed(previous)) - {"ForceUpdateEnabled"}
        if changed - self._CONFIG - self._VERSION - {"LaunchTemplate", "Tags"}:
            super().update(previous)
        if changed & self._VERSION and changed - self._VERSION:
            self.fail("Version and ReleaseVersion updates cannot be combined with other updates")
        names = dict(zip(("clusterName", "nodegroupName"), self._names, strict=True))
        given = _small(self.only(*sorted(changed & self._CONFIG)))
        if given:
            call(self.eks, "update_nodegroup_config", {**names, **given})
        rolled = _small(self.only(*sorted(changed & {*self._VERSION, "LaunchTemplate"})))
        if rolled:
            call(self.eks, "update_nodegroup_version", {**names, **rolled})

    def delete(self) -> None:
        """Delete it with its nodes."""
        cluster, group = self._names
        self.eks.delete_nodegroup(clusterName=cluster, nodegroupName=group)


@resource("AWS::EKS::AccessEntry")
class AccessEntry(EksResource):
    """A principal's access to a cluster. Ref is the principal and the cluster."""

    def create(self) -> None:
        """Create it with its policies."""
        cluster, principal = self.properties["ClusterName"], self.properties["PrincipalArn"]
        given = _small(self.only("KubernetesGroups", "Type", "Username"))
        names = {"clusterName": cluster, "principalArn": principal}
        answer = call(self.eks, "create_access_entry", {**names, **given, **self.tag_map()})["accessEntry"]
        self._associate()
        self.physical_id = f"{principal}|{cluster}"
        self.attributes = {"AccessEntryArn": answer["accessEntryArn"]}

    def _associate(self) -> None:
        names = {
            "clusterName": self.properties["ClusterName"],
            "principalArn": self.properties["PrincipalArn"],
        }
        for policy in self.properties.get("AccessPolicies", []):
            call(self.eks, "associate_access_policy", {**names, **_small(policy)})

    def update(self, previous: Properties) -> None:
        """Set the policies."""
        if set(self.changed(previous)) - {"AccessPolicies", "Tags"}:
            super().update(previous)
        for policy in previous.get("AccessPolicies", []):
            self.eks.disassociate_access_policy(
                clusterName=self.properties["ClusterName"],
                principalArn=self.properties["PrincipalArn"],
                policyArn=policy["PolicyArn"],
            )
        self._associate()

    def delete(self) -> None:
        """Delete it."""
        self.eks.delete_access_entry(
            clusterName=self.properties["ClusterName"], principalArn=self.properties["PrincipalArn"]
        )


@resource("AWS::EKS::Addon")
class Addon(EksResource):
    """An add-on. Ref is the cluster's name and its own."""

    def create(self) -> None:
        """Create it."""
        dropped = ("Tags", "PreserveOnDelete")
        request = _small({name: value for name, value in self.properties.items() if name not in dropped})
        answer = call(self.eks, "create_addon", {**request, **self.tag_map()})["addon"]
        self.physical_id = f"{request['clusterName']}|{request['addonName']}"
        self.attributes = {"Arn": answer["addonArn"]}

    def update(self, previous: Properties) -> None:
        """Set version and configuration."""
        changed = set(self.changed(previous))
        if changed - {"AddonVersion", "ConfigurationValues", "ResolveConflicts", "Tags"}:
            super().update(previous)
        given = _small(
            self.only("ClusterName", "AddonName", "AddonVersion", "ConfigurationValues", "ResolveConflicts")
        )
        call(self.eks, "update_addon", given)

    def delete(self) -> None:
        """Delete it."""
        self.eks.delete_addon(
            clusterName=self.properties["ClusterName"],
            addonName=self.properties["AddonName"],
            preserve=bool(self.properties.get("PreserveOnDelete", False)),
        )


@resource("AWS::EKS::PodIdentityAssociation")
class PodIdentityAssociation(EksResource):
    """The role of an account of a namespace. Ref is its ARN."""

    def create(self) -> None:
        """Create it."""
        request = _small({name: value for name, value in self.properties.items() if name != "Tags"})
        made = call(self.eks, "create_pod_identity_association", {**request, **self.tag_map()})["association"]
        self.physical_id = made["associationArn"]
        self.attributes = {"AssociationArn": made["associationArn"], "AssociationId": made["associationId"]}

    def delete(self) -> None:
        """Delete it."""
        self.eks.delete_pod_identity_association(
            clusterName=self.properties["ClusterName"], associationId=self.attributes["AssociationId"]
        )
