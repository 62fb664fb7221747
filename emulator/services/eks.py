"""Patches of moto's EKS: the cluster's own security group, access entries, add-ons, details of node groups."""

from __future__ import annotations

import os
import re
import secrets
import threading
from typing import Any
from urllib.parse import quote

from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.eks import models, responses, urls
from moto.eks.exceptions import (
    InvalidParameterException,
    InvalidRequestException,
    ResourceInUseException,
    ResourceNotFoundException,
)

from emulator import control_planes, token_review
from emulator.moto_patches import put_all

_STANDARD = "STANDARD"


def _refused(kind: type[Any], message: str) -> Any:
    names = dict.fromkeys(("clusterName", "nodegroupName", "fargateProfileName", "addonName"))
    if kind is ResourceInUseException:
        names.pop("fargateProfileName")
    return kind(message=message, **names)


class Backend(models.EKSBackend):
    """moto's EKS, whose clusters have a security group and keep access entries and add-ons."""

    def _ec2(self) -> Any:
        return ec2_backends[self.account_id][self.region_name]

    def create_cluster(self, *arguments: Any, **given: Any) -> Any:
        """Create it with a group of its own, all of whose members reach each other, as EKS does."""
        cluster = _create_cluster(self, *arguments, **given)
        ec2 = self._ec2()
        network = cluster.resources_vpc_config
        subnets = [ec2.get_subnet(subnet) for subnet in network["subnetIds"]]
        zones = {subnet.availability_zone for subnet in subnets}
        if len(zones) < 2:
            del self.clusters[cluster.name]
            raise InvalidRequestException(
                message=f"Subnets specified must be in at least two different AZs, not {sorted(zones)}"
            )
        vpc = subnets[0].vpc_id
        name = f"eks-cluster-sg-{cluster.name}-{ec2.account_id[-6:]}"
        group = ec2.create_security_group(name, "EKS created security group", vpc_id=vpc)
        ec2.authorize_security_group_ingress(
            group_name_or_id=group.id,
            ip_protocol="-1",
            from_port=None,
            to_port=None,
            ip_ranges=[],
            source_groups=[{"GroupId": group.id}],
            vpc_id=vpc,
        )
        network.update({"clusterSecurityGroupId": group.id, "vpcId": vpc})
        vars(cluster).update(access_entries={}, addons={})
        planes = control_planes.configured()
        if planes is not None:
            cluster.status = "CREATING"
            threading.Thread(target=_start, args=(cluster, planes), daemon=True).start()
        return cluster

    def delete_cluster(self, name: str) -> Any:
        """Delete it and its group; a cluster with node groups stays."""
        cluster = _delete_cluster(self, name)
        planes = control_planes.configured()
        if planes is not None:
            planes.delete(cluster.arn)
        self._ec2().delete_security_group(group_id=cluster.resources_vpc_config["clusterSecurityGroupId"])
        return cluster


def _start(cluster: Any, planes: control_planes.ControlPlanes) -> None:
    """Start a cluster's control plane; a cluster whose own does not start has FAILED, and its health says why."""
    review = f"{os.environ['AWS_ENDPOINT_URL']}{token_review.PATH}{quote(cluster.arn)}"
    try:
        address = planes.create(cluster.arn, review)
    except control_planes.ControlPlaneError as error:
        cluster.health = {"issues": [{"code": "Other", "message": str(error), "resourceIds": [cluster.name]}]}
        cluster.status = "FAILED"
        return
    cluster.endpoint, cluster.certificate_authority = address.endpoint, {"data": address.authority}
    cluster.status = models.ACTIVE_STATUS


def _grant(cluster: Any) -> None:
    """Give the cluster's control plane the rights that its access entries have."""
    planes = control_planes.configured()
    if planes is None:
        return
    grants = tuple(
        control_planes.Grant(
            token_review.group_of(principal),
            policy["policyArn"].rpartition("/")[2],
            tuple(policy["accessScope"].get("namespaces") or ()),
        )
        for principal, held in cluster.access_entries.items()
        for policy in held["policies"].values()
    )
    try:
        planes.set_grants(cluster.arn, grants)
    except control_planes.ControlPlaneError as error:
        raise InvalidRequestException(message=str(error)) from error


def _set_nodes(cluster: Any, group: Any, *, none: bool = False) -> None:
    """Make the nodes of a group in the cluster's control plane those that it says, or none."""
    planes = control_planes.configured()
    if planes is None:
        return
    count = 0 if none else group.scaling_config.get("desiredSize", 0)
    try:
        planes.set_nodes(cluster.arn, control_planes.NodeGroup(group.nodegroup_name, count, group.labels))
    except control_planes.ControlPlaneError as error:
        raise InvalidRequestException(message=str(error)) from error


def _held(cluster: Any, what: str, name: str) -> Any:
    """Return one thing that a cluster keeps.

    Raises:
        ResourceNotFoundException: it has none of that name.
    """
    found = getattr(cluster, what, {}).get(name)
    if found is None:
        raise _refused(ResourceNotFoundException, f"No {what} found for name: {name} in {cluster.name}.")
    return found


class Responses(responses.EKSResponse):
    """The operations that moto lacks."""

    def _cluster(self) -> Any:
        return self.eks_backend.describe_cluster(self._get_param("name"))

    def create_nodegroup(self) -> ActionResult:
        """Create it, and keep what moto drops: how it is updated and repaired."""
        answer = _create_nodegroup(self)
        group = self._cluster().nodegroups[self._get_param("nodegroupName")]
        group.update_config = self._get_param("updateConfig") or {"maxUnavailable": 1}
        group.node_repair_config = self._get_param("nodeRepairConfig") or {"enabled": False}
        _set_nodes(self._cluster(), group)
        return answer

    def update_nodegroup_config(self) -> ActionResult:
        """Change it, and the number of its nodes."""
        answer = _update_nodegroup_config(self)
        _set_nodes(self._cluster(), self._cluster().nodegroups[self._get_param("nodegroupName")])
        return answer

    def update_nodegroup_version(self) -> ActionResult:
        """Set version, release and launch template; EKS takes no group back (botocore: UpdateNodegroupVersion)."""
        group = _held(self._cluster(), "nodegroups", self._get_param("nodegroupName"))
        release = self._get_param("releaseVersion")
        if release and _order(release) < _order(group.release_version):
            raise _refused(
                InvalidParameterException,
                "You cannot roll back a node group to an earlier Kubernetes version or AMI version.",
            )
        group.version = self._get_param("version") or group.version
        group.release_version = release or group.release_version
        if self._get_param("launchTemplate"):
            group.launch_template = {**(group.launch_template or {}), **self._get_param("launchTemplate")}
        return ActionResult({"update": {"id": "update", "status": "Successful", "type": "VersionUpdate"}})

    def delete_nodegroup(self) -> ActionResult:
        """Delete it with its nodes."""
        group = self._cluster().nodegroups.get(self._get_param("nodegroupName"))
        if group is not None:
            _set_nodes(self._cluster(), group, none=True)
        return _delete_nodegroup(self)

    def create_access_entry(self) -> ActionResult:
        """Create it; a principal has one."""
        cluster, principal = self._cluster(), self._get_param("principalArn")
        if principal in cluster.access_entries:
            raise _refused(ResourceInUseException, "The specified access entry resource is already in use.")
        entry = {
            "clusterName": cluster.name,
            "principalArn": principal,
            "kubernetesGroups": self._get_param("kubernetesGroups") or [],
            "accessEntryArn": f"{cluster.arn.replace(':cluster/', ':access-entry/')}/{principal.rpartition('/')[2]}",
            "type": self._get_param("type") or _STANDARD,
            "username": principal,
            "tags": self._get_param("tags") or {},
        }
        cluster.access_entries[principal] = {"entry": entry, "policies": {}}
        return ActionResult({"accessEntry": entry})

    def describe_access_entry(self) -> ActionResult:
        """Return one."""
        held = _held(self._cluster(), "access_entries", self._get_param("principalArn"))
        return ActionResult({"accessEntry": held["entry"]})

    def list_access_entries(self) -> ActionResult:
        """Return the principals."""
        return ActionResult({"accessEntries": list(self._cluster().access_entries)})

    def delete_access_entry(self) -> ActionResult:
        """Delete it with its policies."""
        principal = self._get_param("principalArn")
        _held(self._cluster(), "access_entries", principal)
        del self._cluster().access_entries[principal]
        _grant(self._cluster())
        return ActionResult({})

    def associate_access_policy(self) -> ActionResult:
        """Give an entry a policy."""
        held = _held(self._cluster(), "access_entries", self._get_param("principalArn"))
        policy = {"policyArn": self._get_param("policyArn"), "accessScope": self._get_param("accessScope")}
        held["policies"][policy["policyArn"]] = policy
        _grant(self._cluster())
        return ActionResult(
            {
                "clusterName": self._get_param("name"),
                "principalArn": self._get_param("principalArn"),
                "associatedAccessPolicy": policy,
            }
        )

    def disassociate_access_policy(self) -> ActionResult:
        """Take a policy from an entry."""
        held = _held(self._cluster(), "access_entries", self._get_param("principalArn"))
        held["policies"].pop(self._get_param("policyArn"), None)
        _grant(self._cluster())
        return ActionResult({})

    def list_associated_access_policies(self) -> ActionResult:
        """Return an entry's policies."""
        principal = self._get_param("principalArn")
        held = _held(self._cluster(), "access_entries", principal)
        return ActionResult(
            {
                "clusterName": self._get_param("name"),
                "principalArn": principal,
                "associatedAccessPolicies": list(held["policies"].values()),
            }
        )

    def create_addon(self) -> ActionResult:
        """Create it; it is active at once."""
        cluster, name = self._cluster(), self._get_param("addonName")
        if name in cluster.addons:
            raise _refused(ResourceInUseException, "Addon already exists.")
        addon = {
            "addonName": name,
            "clusterName": cluster.name,
            "status": "ACTIVE",
            # EKS chooses its default by the Kubernetes version; which one that is nobody says here.
            "addonVersion": self._get_param("addonVersion") or "default",
            "addonArn": f"{cluster.arn.replace(':cluster/', ':addon/')}/{name}/{len(cluster.addons)}",
            "configurationValues": self._get_param("configurationValues"),
            "podIdentityAssociations": [
                f"{cluster.arn.replace(':cluster/', ':podidentityassociation/')}/{one['serviceAccount']}"
                for one in self._get_param("podIdentityAssociations") or []
            ],
            "tags": self._get_param("tags") or {},
        }
        cluster.addons[name] = addon
        return ActionResult({"addon": addon})

    def describe_addon(self) -> ActionResult:
        """Return one."""
        name = self._get_param("addonName")
        return ActionResult({"addon": _held(self._cluster(), "addons", name)})

    def list_addons(self) -> ActionResult:
        """Return their names."""
        return ActionResult({"addons": list(self._cluster().addons)})

    def update_addon(self) -> ActionResult:
        """Set version and configuration."""
        addon = _held(self._cluster(), "addons", self._get_param("addonName"))
        for key in ("addonVersion", "configurationValues"):
            if self._get_param(key) is not None:
                addon[key] = self._get_param(key)
        return ActionResult({"update": {"id": "update", "status": "Successful", "type": "AddonUpdate"}})

    def delete_addon(self) -> ActionResult:
        """Delete it."""
        name = self._get_param("addonName")
        addon = _held(self._cluster(), "addons", name)
        del self._cluster().addons[name]
        return ActionResult({"addon": addon})

    def create_pod_identity_association(self) -> ActionResult:
        """Give an account of a namespace a role; it has one."""
        cluster = self._cluster()
        held = vars(cluster).setdefault("associations", {})
        place = (self._get_param("namespace"), self._get_param("serviceAccount"))
        if place in {(one["namespace"], one["serviceAccount"]) for one in held.values()}:
            raise _refused(ResourceInUseException, "Association already exists.")
        identifier = f"a-{secrets.token_hex(9)[:17]}"
        held[identifier] = {
            "clusterName": cluster.name,
            "namespace": place[0],
            "serviceAccount": place[1],
            "roleArn": self._get_param("roleArn"),
            "associationId": identifier,
            "associationArn": f"{cluster.arn.replace(':cluster/', ':podidentityassociation/')}/{identifier}",
            "tags": self._get_param("tags") or {},
        }
        return ActionResult({"association": held[identifier]})

    def list_pod_identity_associations(self) -> ActionResult:
        """Return which accounts have roles."""
        kept = ("clusterName", "namespace", "serviceAccount", "associationId", "associationArn")
        held = vars(self._cluster()).get("associations", {}).values()
        return ActionResult({"associations": [{key: one[key] for key in kept} for one in held]})

    def describe_pod_identity_association(self) -> ActionResult:
        """Return one."""
        return ActionResult(
            {"association": _held(self._cluster(), "associations", self._get_param("associationId"))}
        )

    def delete_pod_identity_association(self) -> ActionResult:
        """Take the role away."""
        identifier = self._get_param("associationId")
        association = _held(self._cluster(), "associations", identifier)
        del self._cluster().associations[identifier]
        return ActionResult({"association": association})


def _order(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", release)]


_create_cluster = models.EKSBackend.create_cluster
_delete_cluster = models.EKSBackend.delete_cluster
_create_nodegroup = responses.EKSResponse.create_nodegroup
_update_nodegroup_config = responses.EKSResponse.update_nodegroup_config
_delete_nodegroup = responses.EKSResponse.delete_nodegroup

_CLUSTER = "{0}/clusters/(?P<name>[^/]+)"
_PATHS = (
    "node-groups/(?P<nodegroupName>[^/]+)/update-version$",
    "access-entries$",
    "access-entries/(?P<principalArn>.+)/access-policies$",
    "access-entries/(?P<principalArn>.+)/access-policies/(?P<policyArn>.+)$",
    "access-entries/(?P<principalArn>.+)$",
    "pod-identity-associations$",
    "pod-identity-associations/(?P<associationId>[^/]+)$",
    "addons$",
    "addons/(?P<addonName>[^/]+)$",
    "addons/(?P<addonName>[^/]+)/update$",
)


def install() -> None:
    """Add operations and paths to moto's EKS, before its server is made."""
    for target, own in ((models.EKSBackend, Backend), (responses.EKSResponse, Responses)):
        put_all(target, own)
    for path in _PATHS:
        urls.url_paths[f"{_CLUSTER}/{path}"] = urls.response.dispatch
