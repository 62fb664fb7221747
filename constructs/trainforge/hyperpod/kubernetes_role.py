"""The role that HyperPod nodes work under where EKS orchestrates them, and that of HyperPod's autoscaler."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from trainforge.acknowledgement import acknowledge, acknowledge_wildcards
from trainforge.hyperpod.role import NodeRole

_PULL_POLICY = "AmazonEC2ContainerRegistryPullOnly"


class KubernetesNodeRole(NodeRole):
    """Execution role of instance groups whose nodes join an EKS cluster.

    Beside what every HyperPod node may do: the interfaces of pods, images of add-ons, and credentials of pods by EKS
    Pod Identity. The actions are those that the SageMaker guide lists ("IAM role for SageMaker HyperPod", for EKS)
    beside its managed policy, on interfaces in the role's subnets and on instances where the guide says `*`.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        subnets: Sequence[ec2.ISubnet],
        security_groups: Sequence[ec2.ISecurityGroup],
        cluster_arn: str,
        subnet_owner: str | None = None,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            subnets=subnets,
            security_groups=security_groups,
            subnet_owner=subnet_owner,
        )
        self.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name(_PULL_POLICY))
        acknowledge(
            self,
            f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{_PULL_POLICY}]",
            "nodes pull add-ons and health monitoring from accounts of AWS that differ by region",
        )
        self.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "ec2:AssignPrivateIpAddresses",
                    "ec2:AttachNetworkInterface",
                    "ec2:ModifyNetworkInterfaceAttribute",
                    "ec2:UnassignPrivateIpAddresses",
                ],
                resources=[self._interfaces],
                conditions=self._in_these_subnets,
            )
        )
        instances = self._ec2_arn("instance", "*")
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["ec2:AttachNetworkInterface", "ec2:ModifyNetworkInterfaceAttribute"],
                resources=[instances],
            )
        )
        acknowledge_wildcards(self, "HyperPod makes the instances later, under ids of their own", instances)
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["ec2:DescribeInstanceTypes", "ec2:DescribeInstances", "ec2:DescribeTags"],
                resources=["*"],
            )
        )
        self.add_to_policy(
            iam.PolicyStatement(actions=["eks-auth:AssumeRoleForPodIdentity"], resources=[cluster_arn])
        )


class AutoscalingRole(iam.Role):
    """The role by which HyperPod's managed Karpenter adds and removes nodes of a cluster.

    By the cluster's name it cannot be narrowed: the ARN of a HyperPod cluster carries an id that it gets when it is
    made, and it is made with this role. So the condition on the account stays that the guide has ("Create an IAM role
    for HyperPod autoscaling with Karpenter"). Its grants on keys are left out: volumes here have AWS's own.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope,
            construct_id,
            assumed_by=iam.ServicePrincipal("hyperpod.sagemaker.amazonaws.com"),
            description="HyperPod's autoscaler of a cluster",
        )
        clusters = cdk.Stack.of(self).format_arn(service="sagemaker", resource="cluster", resource_name="*")
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["sagemaker:BatchAddClusterNodes", "sagemaker:BatchDeleteClusterNodes"],
                resources=[clusters],
                conditions={"StringEquals": {"aws:ResourceAccount": "${aws:PrincipalAccount}"}},
            )
        )
        acknowledge_wildcards(
            self, "a HyperPod cluster's ARN carries an id that it gets when it is made", clusters
        )
