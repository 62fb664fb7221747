"""The base class of cluster stacks, and the context that they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_ssm as ssm
from constructs import Construct, IDependable

from catalog.cluster_info import ClusterInfo
from catalog.cluster_kinds import KINDS
from catalog.image_builder import image_parameter
from settings.deployment import Settings
from settings.sections.images import NodeImageSettings
from stacks.launch_artifacts import LaunchArtifacts
from stacks.network import NetworkStack
from stacks.shared_services import SharedServices
from stacks.storage import StorageStack
from trainforge.notifications import Notifications

if TYPE_CHECKING:
    from trainforge.workload_image import WorkloadImage


@dataclass(frozen=True, slots=True)
class DeploymentContext:
    """The input of every cluster stack: the configuration, and the network, storage and shared services.

    `base` is the folder that relative paths in the configuration start from.
    """

    settings: Settings
    base: Path
    network: NetworkStack
    storage: StorageStack
    services: SharedServices
    env: cdk.Environment


class ClusterStack(cdk.Stack):
    """A stack with a cluster that runs a configuration's pools, and publishes its ClusterInfo.

    A subclass has a `section`, the cluster's key in the configuration: name and description of the stack follow from
    it. `launch_artifacts` has the images of the workloads that are shipped with the cluster, `notifications` the
    topic of the cluster's events. The constructor of a subclass makes the cluster and ends with `_publish`.
    """

    section: ClassVar[str]

    def __init__(self, scope: Construct, construct_id: str, *, context: DeploymentContext) -> None:
        settings = context.settings
        super().__init__(
            scope,
            construct_id,
            env=context.env,
            stack_name=f"{settings.name}-{self.section.replace('_', '-')}",
            description=f"trainforge {settings.name}: {KINDS[self.section].title}",
        )
        self._settings, self._network, self._storage = settings, context.network, context.storage
        self._pools = [settings.pools[name] for name in settings.clusters[self.section].pools]
        self.launch_artifacts = LaunchArtifacts(self, "Workloads", settings=settings, cluster=self.section)
        self.notifications = Notifications(self, "Notifications", emails=settings.notifications.emails)
        self._software_images: list[WorkloadImage] = []
        """Images of our own software that nodes pull beside the workloads'."""

    def _node_subnets(self) -> list[ec2.ISubnet]:
        """Return the subnets that a service may put nodes into: those of the pools' zones, and of the first zone."""
        zones = {self._settings.availability_zones[0], *(pool.availability_zone for pool in self._pools)}
        return [self._network.private_subnet(zone) for zone in sorted(zones)]

    def _notify_of_vulnerabilities(self) -> None:
        """Tell people of vulnerabilities in the images that nodes pull, which hold all of their base images."""
        artifacts, least = self.launch_artifacts, self._settings.notifications.vulnerabilities
        images = [*artifacts.images.values(), *artifacts.base_images.values(), *self._software_images]
        if least and images:
            from trainforge.vulnerabilities import notify_of_container_vulnerabilities

            arns = [image.repository.repository_arn for image in images]
            rules = notify_of_container_vulnerabilities(self.notifications, arns, least=least)
            for image in images:
                image.build_after(*rules)

    def _grant(self, *, images: iam.Role | iam.ManagedPolicy, data: Sequence[iam.Role] = ()) -> None:
        """Let roles pull the images of the workloads, and read and write the deployment's data by its own policy."""
        self.launch_artifacts.grant_pull(images)
        for role in data:
            role.add_managed_policy(self._storage.node_access)

    def _start_after(self, nodes: Construct, *more: IDependable) -> None:
        """Start nodes after the images of the workloads are built, and after `more`.

        An image that does not build fails the deployment before nodes are paid for.
        """
        nodes.node.add_dependency(*more, *self.launch_artifacts.images.values())

    def _scripts_bucket(self) -> s3.IBucket:
        """Return the scripts bucket by its name, as a service that reads it later knows it."""
        return s3.Bucket.from_bucket_name(self, "ScriptsBucket", self._storage.scripts_bucket_name)

    def _node_tags(self) -> dict[str, str]:
        """Return the tags of nodes, by which people find nodes and their cost in EC2."""
        return {"Name": self.stack_name, **self._settings.resource_tags}

    def _node_image(self) -> str:
        """Return the id of the section's own machine image, empty where it takes the service's.

        A version is a dynamic reference, because a parameter's type takes the newest value only (CloudFormation,
        "CloudFormation-supplied parameter types"). The mark in the description keeps the CLI from deploying an
        unchanged stack again for the image's sake, which would replace nodes.
        """
        chosen = getattr(self._settings.clusters[self.section], "image", None)
        if isinstance(chosen, NodeImageSettings) and chosen.ami_id:
            return chosen.ami_id
        if chosen is None or chosen.source is None:
            return ""
        name = image_parameter(self._settings.name, chosen.source)
        if chosen.version:
            return cdk.CfnDynamicReference(
                cdk.CfnDynamicReferenceService.SSM, f"{name}:{chosen.version}"
            ).to_string()
        return cdk.CfnParameter(
            self,
            "NodeImage",
            type="AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
            default=name,
            description="Image of nodes [cdk:skip]",
        ).value_as_string

    def _removal_policy(self) -> cdk.RemovalPolicy:
        """Return the removal policy of logs and metrics."""
        durable = self._settings.retention == "durable"
        return cdk.RemovalPolicy.RETAIN if durable else cdk.RemovalPolicy.DESTROY

    def _info_parameter_name(self) -> str:
        """Return the name of the SSM parameter that holds the cluster info."""
        return ClusterInfo.parameter_name(self._settings.name, self.section)

    def _info_of(self, cluster_name: str) -> ClusterInfo:
        """Return the info that every kind of cluster has; a subclass adds what its kind of cluster has."""
        return ClusterInfo(
            deployment=self._settings.name,
            cluster=self.section,
            region=self.region,
            cluster_name=cluster_name,
            data_bucket=self._storage.data_bucket.bucket_name,
            mounts=self._storage.mounts,
        )

    def _publish(self, info: ClusterInfo, topic: str, outputs: Iterable[tuple[str, str, str]]) -> ClusterInfo:
        """Ship the workloads, and publish the cluster info for trainforge's commands.

        Outputs are (id, value, description); `topic` describes that of the notifications. Returns the info with what is
        shipped.
        """
        self._notify_of_vulnerabilities()
        info = self.launch_artifacts.completed(info)
        self.launch_artifacts.ship(info, self._storage.data_bucket)
        parameter = ssm.StringParameter(
            self,
            "ClusterInfo",
            parameter_name=self._info_parameter_name(),
            string_value=info.to_json(),
            description="Information on this cluster for trainforge's commands",
            # A parameter holds 4 KiB, and 8 in the advanced tier.
            tier=ssm.ParameterTier.INTELLIGENT_TIERING,
        )
        of_all = (
            ("NotificationTopic", self.notifications.topic.topic_arn, topic),
            ("ClusterInfoParameter", parameter.parameter_name, "SSM parameter with the cluster's info"),
        )
        for output_id, value, description in (*outputs, *of_all):
            cdk.CfnOutput(self, output_id, value=value, description=description)
        return info
