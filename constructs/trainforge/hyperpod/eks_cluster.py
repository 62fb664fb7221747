"""A HyperPod cluster whose nodes join an EKS cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct, IDependable

from trainforge.acknowledgement import acknowledge
from trainforge.eks.cluster import KubernetesCluster
from trainforge.hyperpod.events import notify
from trainforge.hyperpod.groups import Group
from trainforge.hyperpod.kubernetes_role import AutoscalingRole
from trainforge.notifications import Notifications


@dataclass(frozen=True, slots=True)
class KubernetesOptions:
    """Options of the cluster: provisioning, repair, autoscaling, and the nodes' memory for checkpoints in percent.

    Autoscaling is HyperPod's managed Karpenter, which needs continuous provisioning and repair.
    """

    continuous_provisioning: bool = True
    node_recovery: bool = True
    autoscaling: bool = False
    tiered_storage_percent: int | None = None


class HyperPodEksCluster(Construct):
    """A SageMaker HyperPod cluster with the EKS orchestrator.

    `groups` are instance groups in CloudFormation's spelling, made by `trainforge.hyperpod.groups`. HyperPod admits
    its nodes to the EKS cluster by access entries that it makes and removes itself. It comes after what `after` names
    (HyperPod's chart, without which HyperPod refuses nodes or never calls them ready) and goes before it. The name is
    given, because the API demands one; a change of the cluster's own subnet or security groups, or of the EKS cluster,
    would replace it, which CloudFormation refuses while the old one has the name.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster_name: str,
        kubernetes: KubernetesCluster,
        subnet: ec2.ISubnet,
        groups: Sequence[Group],
        role: iam.Role,
        options: KubernetesOptions,
        after: Sequence[IDependable] = (),
    ) -> None:
        super().__init__(scope, construct_id)
        self.cluster_name = cluster_name
        autoscaler = AutoscalingRole(self, "AutoscalingRole") if options.autoscaling else None
        self._cluster = sagemaker.CfnCluster(
            self,
            "Cluster",
            cluster_name=cluster_name,
            node_recovery="Automatic" if options.node_recovery else "None",
            node_provisioning_mode="Continuous" if options.continuous_provisioning else None,
            cluster_role=autoscaler.role_arn if autoscaler else None,
        )
        network = {
            "Subnets": [subnet.subnet_id],
            "SecurityGroupIds": list(kubernetes.node_security_group_ids),
        }
        self._configure_by_override(groups, kubernetes.cluster_arn, network, options)
        # HyperPod checks at creation that the roles may do their work; their policies are resources of their own.
        waited_for = [role, *([autoscaler] if autoscaler else []), kubernetes.before_nodes, *after]
        self._cluster.node.add_dependency(*waited_for)

    def _configure_by_override(
        self, groups: Sequence[Group], eks_arn: str, network: Group, options: KubernetesOptions
    ) -> None:
        """Set structures as raw properties: there is no L2, and typed structs pass slowly."""
        set_property = self._cluster.add_property_override
        set_property("Orchestrator", {"Eks": {"ClusterArn": eks_arn}})
        set_property("VpcConfig", network)
        set_property("InstanceGroups", list(groups))
        if any("ImageReleaseVersion" in group for group in groups):
            acknowledge(
                self._cluster,
                "CloudFormation-Validate::F3002",
                "the CDK validates by an older schema than that of its own construct, without ImageReleaseVersion",
            )
        if options.autoscaling:
            set_property("AutoScaling", {"Mode": "Enable", "AutoScalerType": "Karpenter"})
        if options.tiered_storage_percent is not None:
            tiered = {"Mode": "Enable", "InstanceMemoryAllocationPercentage": options.tiered_storage_percent}
            set_property("TieredStorageConfig", tiered)

    @property
    def cluster_arn(self) -> str:
        """The cluster's ARN."""
        return self._cluster.ref

    @property
    def cluster_id(self) -> str:
        """The id in the ARN, which Session Manager targets and log groups carry."""
        return cdk.Fn.select(1, cdk.Fn.split("/", self.cluster_arn))

    def notify(self, notifications: Notifications) -> None:
        """Send the cluster's state changes, events and its nodes' health events to the topic."""
        notify(self.cluster_name, notifications)
