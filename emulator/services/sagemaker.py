"""SageMaker HyperPod beyond moto's: the whole cluster is kept, described and updated.

moto's CreateCluster keeps name, groups and VPC, demands lifecycle scripts and knows an old list of types.
"""

from __future__ import annotations

import copy
import json
import secrets
import string
from collections.abc import Mapping
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.sagemaker import models, responses
from moto.sagemaker.exceptions import ResourceInUseException, ValidationError

from emulator import control_planes
from emulator.moto_patches import put, put_all

_DESCRIBED = (
    "AutoScaling",
    "ClusterRole",
    "NodeProvisioningMode",
    "NodeRecovery",
    "Orchestrator",
    "TieredStorageConfig",
    "VpcConfig",
)

_HYPERPODS_OWN = "default"
"""The ImageId that is no id (botocore: sagemaker, ImageId)."""


class Cluster(models.Cluster):
    """A cluster that keeps its whole request."""

    def __init__(self, request: dict[str, Any], region: str, account: str) -> None:
        self.request = request
        self.region_name = region
        self.account_id = account
        self.cluster_name = request["ClusterName"]
        identifier = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))
        self.cluster_id = identifier
        self.arn = f"arn:aws:sagemaker:{region}:{account}:cluster/{identifier}"
        self.status = "InService"
        self.creation_time = utcnow()
        self.failure_message = ""
        self.tags = request.get("Tags", [])
        self.nodes: dict[str, models.ClusterNode] = {}
        self.joined: dict[str, tuple[int, dict[str, str]]] = {}
        self.make_nodes()

    def make_nodes(self) -> None:
        """Bring the nodes to the counts of the instance groups."""
        requested = {group["InstanceGroupName"]: group for group in self.request.get("InstanceGroups", [])}
        kept: dict[str, models.ClusterNode] = {}
        counts = dict.fromkeys(requested, 0)
        for node_id, node in self.nodes.items():
            name = node.instance_group_name
            if name in requested and counts[name] < int(requested[name]["InstanceCount"]):
                kept[node_id] = node
                counts[name] += 1
        for name, group in requested.items():
            for _ in range(int(group["InstanceCount"]) - counts[name]):
                node_id = f"i-{secrets.token_hex(9)[:17]}"
                kept[node_id] = models.ClusterNode(
                    region_name=self.region_name,
                    account_id=self.account_id,
                    cluster_name=self.cluster_name,
                    instance_group_name=name,
                    instance_type=group.get("InstanceType", ""),
                    life_cycle_config=group.get("LifeCycleConfig", {}),
                    execution_role=group["ExecutionRole"],
                    node_id=node_id,
                    threads_per_core=group.get("ThreadsPerCore"),
                )
        self.nodes = kept
        self.join({name: (int(group["InstanceCount"]), _labels(group)) for name, group in requested.items()})

    def join(self, groups: Mapping[str, tuple[int, dict[str, str]]]) -> None:
        """Make the nodes of the EKS cluster's control plane, where it has one, those of groups: counts and labels.

        Raises:
            ValidationError: the control plane does not take them.
        """
        planes = control_planes.configured()
        eks = self.request.get("Orchestrator", {}).get("Eks", {}).get("ClusterArn")
        if planes is None or not eks:
            return
        gone = {name: (0, labels) for name, (_, labels) in self.joined.items() if name not in groups}
        try:
            for name, (count, labels) in {**gone, **groups}.items():
                planes.set_nodes(eks, control_planes.NodeGroup(name, count, labels))
        except control_planes.ControlPlaneError as error:
            raise ValidationError(message=str(error)) from error
        self.joined = dict(groups)

    def describe(self) -> dict[str, Any]:
        """Return it as DescribeCluster does."""
        groups = []
        for group in copy.deepcopy(self.request.get("InstanceGroups", [])):
            count = int(group.pop("InstanceCount"))
            if "KubernetesConfig" in group:
                group["KubernetesConfig"] = {
                    f"{when}{name}": value
                    for name, value in group["KubernetesConfig"].items()
                    for when in ("Current", "Desired")
                }
            for name in ("ImageId", "ImageReleaseVersion"):
                if name in group:
                    group |= dict.fromkeys((f"Current{name}", f"Desired{name}"), group.pop(name))
            groups.append({**group, "CurrentCount": count, "TargetCount": count, "Status": "InService"})
        return {
            "ClusterArn": self.arn,
            "ClusterName": self.cluster_name,
            "ClusterStatus": self.status,
            "CreationTime": self.creation_time,
            "InstanceGroups": groups,
            **{name: self.request[name] for name in _DESCRIBED if name in self.request},
        }


class Responses(responses.SageMakerResponse):
    """The cluster operations that moto lacks or does in part."""

    def create_cluster(self) -> ActionResult:
        """Create a cluster after the checks that SageMaker makes on names, subnets, groups, roles and scripts."""
        request = json.loads(self.body)
        if request["ClusterName"] in self.sagemaker_backend.clusters:
            raise ResourceInUseException(
                message=f"Resource Already Exists: Cluster with name {request['ClusterName']} already exists. "
                "Choose a different name."
            )
        _check(request, self.current_account, self.region)
        cluster = Cluster(request, self.region, self.current_account)
        self.sagemaker_backend.clusters[cluster.cluster_name] = cluster
        return ActionResult({"ClusterArn": cluster.arn})

    def update_cluster(self) -> ActionResult:
        """Set what is given; instance groups by name, deleted ones by InstanceGroupsToDelete."""
        request = json.loads(self.body)
        cluster = _cluster(self.sagemaker_backend, request.pop("ClusterName"))
        gone = request.pop("InstanceGroupsToDelete", [])
        groups = {group["InstanceGroupName"]: group for group in cluster.request.get("InstanceGroups", [])}
        groups |= {group["InstanceGroupName"]: group for group in request.pop("InstanceGroups", [])}
        kept = [group for name, group in groups.items() if name not in gone]
        changed = {**cluster.request, **request, "InstanceGroups": kept}
        _check(changed, self.current_account, self.region)
        cluster.request = changed
        cluster.make_nodes()
        return ActionResult({"ClusterArn": cluster.arn})


def _check(request: dict[str, Any], account: str, region: str) -> None:
    """Check what the cluster refers to.

    Raises:
        ValidationError: with all that is wrong.
    """
    problems: list[str] = []
    groups = request.get("InstanceGroups", [])
    names = [group["InstanceGroupName"] for group in groups]
    problems += [
        f"instance group '{name}' is given twice" for name in sorted(set(names)) if names.count(name) > 1
    ]
    if not groups and not request.get("RestrictedInstanceGroups"):
        problems.append("a cluster needs at least one instance group")
    ec2 = ec2_backends[account][region]
    configurations = [request.get("VpcConfig"), *(group.get("OverrideVpcConfig") for group in groups)]
    for configuration in filter(None, configurations):
        known = {subnet.id for subnet in ec2.describe_subnets()}
        problems += [
            f"subnet '{item}' does not exist" for item in configuration["Subnets"] if item not in known
        ]
        problems += [
            f"security group '{item}' does not exist"
            for item in configuration["SecurityGroupIds"]
            if ec2.get_security_group_from_id(item) is None
        ]
    roles = {role.arn for role in iam_backends[account]["aws"].get_roles()}
    for group in groups:
        if group["ExecutionRole"] not in roles:
            problems.append(f"role '{group['ExecutionRole']}' does not exist")
        problems += _image_problems(group, slurm="Slurm" in request.get("Orchestrator", {}))
        problems += _own_image_problems(group, ec2.amis, account)
        source = group.get("LifeCycleConfig", {}).get("SourceS3Uri")
        if source and not source.startswith("s3://sagemaker-"):
            problems.append(f"SourceS3Uri '{source}' does not start with 's3://sagemaker-'")
    if problems:
        raise ValidationError(message="; ".join(dict.fromkeys(problems)))


def _image_problems(group: dict[str, Any], *, slurm: bool) -> list[str]:
    """Return what an instance group may not have of images and updates.

    Sources: CloudFormation, AWS::SageMaker::Cluster, ImageReleaseVersion; SageMaker guide, "Update your AMI version in
    your SageMaker HyperPod cluster", of batches; botocore, ImageReleaseVersion, which is one of HyperPod's own image.
    """
    name, problems = group["InstanceGroupName"], []
    release = "ImageReleaseVersion" in group
    if release and slurm:
        problems.append(
            f"ImageReleaseVersion of '{name}' is supported for clusters that EKS orchestrates only"
        )
    if release and group.get("ImageId", _HYPERPODS_OWN) != _HYPERPODS_OWN:
        problems.append(f"ImageReleaseVersion of '{name}' is no version of its ImageId")
    updates = (group.get("ScheduledUpdateConfig", {}), group.get("AutoPatchConfig", {}))
    if slurm and any("RollingUpdatePolicy" in one.get("DeploymentConfig", {}) for one in updates):
        problems.append(
            f"updates of '{name}' in batches are available for clusters that EKS orchestrates only"
        )
    return problems


def _own_image_problems(group: dict[str, Any], images: Mapping[str, Any], account: str) -> list[str]:
    """Return what is wrong with an instance group's image (botocore, ClusterInstanceGroupSpecification, `ImageId`).

    The account's own images only: HyperPod's public ones are not here.
    """
    name, image = group["InstanceGroupName"], group.get("ImageId", _HYPERPODS_OWN)
    if image == _HYPERPODS_OWN:
        return []
    if image not in images:
        return [f"ImageId '{image}' of '{name}' does not exist"]
    if images[image].owner_id != account:
        return [f"ImageId '{image}' of '{name}' is not owned by the account of the cluster"]
    return []


def _cluster(backend: Any, name_or_arn: str) -> Cluster:
    """Return a cluster by name or ARN.

    Raises:
        ValidationError: there is none.
    """
    for cluster in backend.clusters.values():
        if name_or_arn in (cluster.cluster_name, cluster.arn):
            assert isinstance(cluster, Cluster)
            return cluster
    raise ValidationError(message=f"Could not find cluster '{name_or_arn}'.")


def install() -> None:
    """Put the operations into moto's SageMaker, and let its others find a cluster by its real ARN."""
    put_all(responses.SageMakerResponse, Responses)
    for name in ("describe_cluster", "describe_cluster_node", "list_cluster_nodes"):
        put(models.SageMakerModelBackend, name, _by_name(getattr(models.SageMakerModelBackend, name)))
    delete = models.SageMakerModelBackend.delete_cluster

    def delete_cluster(self: Any, cluster_name: str) -> Any:
        cluster = _cluster(self, cluster_name)
        cluster.join({})
        return delete(self, cluster_name=cluster.cluster_name)

    put(models.SageMakerModelBackend, "delete_cluster", delete_cluster)
    find = models.SageMakerModelBackend._get_resource_from_arn

    def resource_of_arn(self: Any, arn: str) -> Any:
        return _cluster(self, arn) if ":cluster/" in arn else find(self, arn)

    put(models.SageMakerModelBackend, "_get_resource_from_arn", resource_of_arn)


def _labels(group: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of an instance group's nodes in Kubernetes."""
    return dict(group.get("KubernetesConfig", {}).get("Labels", {}))


def _by_name(method: Any) -> Any:
    def found(self: Any, cluster_name: str, **rest: Any) -> Any:
        return method(self, cluster_name=_cluster(self, cluster_name).cluster_name, **rest)

    return found
